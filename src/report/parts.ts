/** Parameters of a model by part, from the names and shapes of its tensors. */

/** A tensor by name and shape. */
export interface Listed {
  readonly name: string;
  readonly shape: readonly number[];
}

const isState = (name: string) => /^(optimizer|random)\./.test(name);
const isBuffer = (name: string) => /running_mean|running_var|num_batches_tracked/.test(name);
const size = ({ shape }: Listed) => shape.reduce((product, each) => product * each, 1);

/** Parameters of each part, "other" those of a method's own; buffers and training state are not counted. */
export function countParts(tensors: readonly Listed[]) {
  const parameters = tensors.filter(({ name }) => !isState(name) && !isBuffer(name));
  const of = (...prefixes: string[]) =>
    parameters
      .filter(({ name }) => prefixes.some((prefix) => name.startsWith(prefix)))
      .reduce((sum, each) => sum + size(each), 0);
  const parts = {
    imageEncoder: of("imgnet."),
    audioEncoder: of("audnet."),
    jointSlotAttention: of("slot_attn."),
    imageDecoder: of("img_decoder."),
    audioDecoder: of("aud_decoder."),
  };
  const total = of("");
  const encoders = parts.imageEncoder + parts.audioEncoder;
  const decoders = parts.imageDecoder + parts.audioDecoder;
  const other = total - encoders - parts.jointSlotAttention - decoders;
  return { ...parts, encoders, other, inference: total - decoders, total };
}
