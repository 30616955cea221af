/** Time stamps of decoded frames, from the lines that the filters showinfo and ashowinfo write. */

/** Filters that write one line per frame, in microseconds. */
export const SHOW_FRAMES = "settb=AVTB,showinfo=checksum=0";
export const SHOW_SAMPLES = "asettb=AVTB,ashowinfo";

export interface LoggedFrame {
  /** Raw, in seconds; absent where the decoder gives none. */
  readonly time?: number;
}

export interface LoggedSamples extends LoggedFrame {
  readonly count: number;
  readonly channels: number;
  readonly sampleRate: number;
}

const FRAME = /Parsed_showinfo_\d+ @ [^\]]*\] n: *\d+ pts: *(-?\d+|NOPTS)/;
const SAMPLES =
  /Parsed_ashowinfo_\d+ @ [^\]]*\] n: *\d+ pts: *(-?\d+|NOPTS) .*?\bchannels: *(\d+) .*?\brate: *(\d+) nb_samples: *(\d+)/;

/** Collects the lines of one process; give `onLine` to it. */
export class FrameLog<T extends LoggedFrame> {
  readonly #parse: (line: string) => T | undefined;
  readonly #seen: T[] = [];
  #next = 0;

  private constructor(parse: (line: string) => T | undefined) {
    this.#parse = parse;
  }

  static ofFrames(): FrameLog<LoggedFrame> {
    return new FrameLog((line) => {
      const match = FRAME.exec(line);
      return match ? timeIn(match[1]) : undefined;
    });
  }

  static ofSamples(): FrameLog<LoggedSamples> {
    return new FrameLog((line) => {
      const match = SAMPLES.exec(line);
      if (!match) return undefined;
      const [channels, sampleRate, count] = match.slice(2).map(Number) as [number, number, number];
      return { ...timeIn(match[1]), count, channels, sampleRate };
    });
  }

  readonly onLine = (line: string): boolean => {
    if (!line.includes("showinfo")) return false;
    const frame = this.#parse(line);
    if (frame) this.#seen.push(frame);
    return true;
  };

  /** The next frame in order, once its line has come. */
  peek(): T | undefined {
    return this.#seen[this.#next];
  }

  take(): T | undefined {
    const frame = this.#seen[this.#next];
    if (frame) this.#next++;
    // Used lines are freed now and then.
    if (this.#next > 1024) {
      this.#seen.splice(0, this.#next);
      this.#next = 0;
    }
    return frame;
  }
}

function timeIn(pts: string | undefined): LoggedFrame {
  return pts === undefined || pts === "NOPTS" ? {} : { time: Number(pts) / 1e6 };
}
