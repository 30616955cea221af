/** The SHA-256 of downloads, where they are known. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { basename } from "node:path";
import { pipeline } from "node:stream/promises";

/**
 * By file name. Others are trusted without a checksum, by TLS and pip's own check against its index, unless
 * LIBTORCH_SHA256 is set. Their checksum is printed and stored in `archive-sha256`.
 */
const CHECKSUMS = {
  "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl":
    "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
  "torch-2.14.1-cp311-cp311-manylinux_2_28_x86_64.whl":
    "305a61f61f35f128579f299c5bd33d475f6a01c6307336139632e30856c4854d",
  "nvidia_cublas-13.1.1.3-py3-none-manylinux_2_27_x86_64.whl":
    "37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436",
  "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl":
    "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
  "nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl":
    "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
  "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl":
    "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
  "nvidia_cudnn_cu13-9.24.0.43-py3-none-manylinux_2_27_x86_64.whl":
    "71f181cd810e90f9b6023b01186fe82d13d65f0ec098581ee201d39fad769e4b",
  "nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl":
    "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
  "nvidia_cufile-1.15.1.6-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl":
    "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44",
  "nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl":
    "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
  "nvidia_cusolver-12.0.4.66-py3-none-manylinux_2_27_x86_64.whl":
    "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112",
  "nvidia_cusparse-12.6.3.3-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl":
    "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b",
  "nvidia_cusparselt_cu13-0.8.1-py3-none-manylinux2014_x86_64.whl":
    "786ce87568c303fadb5afcc7102d454cd3040d75f6f8626f5db460d1871f4dd0",
  "nvidia_nccl_cu13-2.30.7-py3-none-manylinux_2_18_x86_64.whl":
    "cefa7fdb9710efd0f39c5f1be1d61ff6fc9a996c451265bd7fbdcf9455ed4b50",
  "nvidia_nvjitlink-13.4.92-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl":
    "e0391f24ed94ec879b84e3da4d4ec320c879aff681f2c7a638462f7199284323",
  "nvidia_nvshmem_cu13-3.4.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl":
    "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80",
  "nvidia_nvtx-13.0.85-py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl":
    "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4",
};

/**
 * Compares an archive with a given checksum, or else with the known one of its name.
 *
 * @param {string} archive
 * @param {(line: string) => void} log
 * @param {string} [given] Default $LIBTORCH_SHA256.
 * @returns {Promise<string>} its SHA-256, in hexadecimal.
 * @throws {Error} when they differ.
 */
export async function verifyArchive(archive, log, given = process.env.LIBTORCH_SHA256 ?? "") {
  const name = basename(archive);
  const wanted = given.trim().toLowerCase();
  if (wanted && !/^[\da-f]{64}$/.test(wanted)) {
    throw new Error("LIBTORCH_SHA256 is not a SHA-256: give 64 hexadecimal digits");
  }
  const hash = createHash("sha256");
  await pipeline(createReadStream(archive), hash);
  const actual = hash.digest("hex");
  const expected = wanted || CHECKSUMS[name];
  if (expected && actual !== expected) throw new Error(`${name} has SHA-256 ${actual}, expected ${expected}`);
  if (!expected) {
    log(
      `No SHA-256 of ${name} is known here. It is ${actual}: set LIBTORCH_SHA256 to check later installations.`,
    );
  }
  return actual;
}
