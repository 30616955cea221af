// Functions that are compiled from one source for the host and, by nvcc, for a GPU.
#pragma once

// Not __host__ __device__: nothing of a kernel is compiled for the host by nvcc. The host's compiler does it.
#if defined(__CUDACC__)
#define SOUNDSPOT_DEVICE __device__ __forceinline__
#define SOUNDSPOT_HOST_DEVICE __host__ __device__
#define SOUNDSPOT_UNROLL _Pragma("unroll")
#else
#define SOUNDSPOT_DEVICE inline
#define SOUNDSPOT_HOST_DEVICE
#define SOUNDSPOT_UNROLL
#endif
