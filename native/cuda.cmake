# The variant for NVIDIA GPUs: included by CMakeLists.txt, where the target soundspot_sources is.
#
# The headers and libraries of CUDA come from NVIDIA's packages beside LibTorch, as `soundspot setup --cuda` and pip put
# them (nvidia/cu13, nvidia/nccl, …), or else from an installed CUDA toolkit. Sources in CUDA need nvcc.
find_library(TORCH_CUDA_LIBRARY torch_cuda PATHS "${LIBTORCH}/lib" NO_DEFAULT_PATH REQUIRED)
find_library(C10_CUDA_LIBRARY c10_cuda PATHS "${LIBTORCH}/lib" NO_DEFAULT_PATH REQUIRED)

get_filename_component(BESIDE "${LIBTORCH}" REALPATH)
file(GLOB NVIDIA_PARTS "${BESIDE}/../nvidia/*")
set(NVIDIA_INCLUDES "")
set(NVIDIA_LIBRARIES "")
foreach(PART IN LISTS NVIDIA_PARTS)
  if(IS_DIRECTORY "${PART}/include")
    list(APPEND NVIDIA_INCLUDES "${PART}/include")
  endif()
  if(IS_DIRECTORY "${PART}/lib")
    list(APPEND NVIDIA_LIBRARIES "${PART}/lib")
  endif()
endforeach()

# LibTorch's headers include these; a toolkit may lack NCCL, which comes separately.
find_package(CUDAToolkit QUIET)
set(CUDA_INCLUDES ${NVIDIA_INCLUDES})
foreach(HEADER cuda_runtime_api.h crt/host_defines.h cublas_v2.h cusparse.h cusolverDn.h nccl.h)
  string(MAKE_C_IDENTIFIER "CUDA_HEADER_${HEADER}" FOUND)
  find_path(${FOUND} ${HEADER} PATHS ${NVIDIA_INCLUDES} NO_DEFAULT_PATH)
  find_path(${FOUND} ${HEADER} PATHS ${CUDAToolkit_INCLUDE_DIRS})
  if(NOT ${FOUND})
    message(FATAL_ERROR "${HEADER} is neither in NVIDIA's packages beside ${LIBTORCH} nor in a CUDA toolkit: run "
      "`npx soundspot setup --cuda` without LIBTORCH, or install the CUDA toolkit and NCCL. Those of crt/ come with nvcc.")
  endif()
  list(APPEND CUDA_INCLUDES "${${FOUND}}")
endforeach()
list(REMOVE_DUPLICATES CUDA_INCLUDES)

# Packages have no name without a version, which find_library looks for.
file(GLOB CUDART_FILES "${BESIDE}/../nvidia/*/lib/libcudart.so.*")
find_library(CUDART_LIBRARY NAMES cudart PATHS ${NVIDIA_LIBRARIES} "${LIBTORCH}/lib" ${CUDAToolkit_LIBRARY_DIR})
if(CUDART_FILES)
  list(GET CUDART_FILES 0 CUDART_LIBRARY)
endif()
if(NOT CUDART_LIBRARY)
  message(FATAL_ERROR "libcudart is neither in NVIDIA's packages beside ${LIBTORCH} nor in a CUDA toolkit.")
endif()

string(REPLACE ";" "," ARCHITECTURES "${SOUNDSPOT_CUDA_ARCHITECTURES}")
if(NOT CUDA_SOURCES)
  set(ARCHITECTURES "75")  # LibTorch's own kernels
endif()
target_compile_definitions(soundspot_sources PUBLIC SOUNDSPOT_CUDA SOUNDSPOT_CUDA_ARCHITECTURES="${ARCHITECTURES}")
target_include_directories(soundspot_sources SYSTEM PUBLIC ${CUDA_INCLUDES})
target_link_libraries(soundspot_sources PUBLIC ${TORCH_CUDA_LIBRARY} ${C10_CUDA_LIBRARY} ${CUDART_LIBRARY})

if(CUDA_SOURCES)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
  set(CMAKE_CUDA_ARCHITECTURES ${SOUNDSPOT_CUDA_ARCHITECTURES})
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # which CMake 3.25 does not know of a newer nvcc
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
  set_source_files_properties(${CUDA_SOURCES} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  # As on the CPU, no product and sum are joined in one instruction.
  set_source_files_properties("${CMAKE_CURRENT_SOURCE_DIR}/native/kernels/cuda/augment.cu" PROPERTIES COMPILE_OPTIONS
    "-fmad=false")
  set_target_properties(soundspot_sources PROPERTIES CUDA_ARCHITECTURES "${SOUNDSPOT_CUDA_ARCHITECTURES}")
  target_compile_options(soundspot_sources PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:\
--expt-relaxed-constexpr;--expt-extended-lambda;-Xcompiler=-fvisibility=hidden>")
endif()
