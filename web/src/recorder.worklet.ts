/** Sends the microphone's samples on, a block at a time, as the mean of its channels. Runs on the audio thread. */

interface ProcessorScope {
  readonly AudioWorkletProcessor: new () => { readonly port: MessagePort };
  registerProcessor(name: string, processor: unknown): void;
}

const scope = globalThis as unknown as ProcessorScope;

class Recorder extends scope.AudioWorkletProcessor {
  process(inputs: readonly (readonly Float32Array[])[]): boolean {
    const channels = inputs[0] ?? [];
    const first = channels[0];
    if (first) {
      const block = new Float32Array(first.length);
      for (const channel of channels) {
        for (let i = 0; i < block.length; i++) {
          block[i] = (block[i] as number) + (channel[i] as number) / channels.length;
        }
      }
      this.port.postMessage(block, [block.buffer]);
    }
    return true;
  }
}

scope.registerProcessor("recorder", Recorder);

export {};
