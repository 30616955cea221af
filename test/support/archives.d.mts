export function latin1(text: string): Buffer;
export function word(text: string): string;
/** [type, storage, elements, offset, sizes, strides]; all numbers are integers. */
export type PickledTensor = readonly [
  type: string,
  storage: string,
  elements: number | bigint,
  offset: number | bigint,
  sizes: readonly (number | bigint)[],
  strides: readonly (number | bigint)[],
];
export function integer(n: number | bigint): string;
export function pickle(tensors: readonly PickledTensor[], key?: string): Buffer;
export function zip(entries: readonly (readonly [name: string, data: Uint8Array])[]): Buffer;
export function zipParts(
  entries: Iterable<readonly [name: string, data: Uint8Array | (() => Uint8Array)]>,
): Generator<Uint8Array>;
export function safetensors(header: unknown, bytes: number): Buffer;
