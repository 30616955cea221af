/**
 * Files that the documentation already names and that are still being written. One that exists fails the tests of the
 * documentation until it is taken from this list.
 */
export const coming: readonly string[] = [
  "native/core/compute.h",
  "native/localization/localize.cc",
  "native/methods/joint_slot_attention.cc",
  "native/methods/method.h",
  "native/training/accumulation.cc",
  "native/training/rollback.h",
  "src/config/methods.ts",
  "src/training/metrics-log.ts",
  "src/training/progress.ts",
  "src/training/run.ts",
  "src/training/start.ts",
  "src/training/train.ts",
];
