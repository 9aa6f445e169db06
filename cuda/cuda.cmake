# The CUDA module, and its twin for the CPU that the tests run (tests/cuda_host).
file(GLOB cuda_kernels CONFIGURE_DEPENDS cuda/kernels/*.cu)
file(GLOB cuda_bindings CONFIGURE_DEPENDS cuda/bind/*.cpp)

set(build_cuda OFF)
if(NOT SACCADE_CUDA STREQUAL "OFF" AND cuda_kernels)
  # Where CUDA is installed by default; few have it on their PATH.
  find_program(SACCADE_NVCC nvcc PATHS /usr/local/cuda/bin)
  if(SACCADE_NVCC AND NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    set(CMAKE_CUDA_COMPILER ${SACCADE_NVCC})
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER AND EXISTS ${torch_dir}/lib/libtorch_cuda.so)
    set(build_cuda ON)
  elseif(SACCADE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SACCADE_CUDA=ON needs nvcc (set CUDACXX or PATH) and a CUDA build of torch; found nvcc: "
                        "'${CMAKE_CUDA_COMPILER}', torch in ${torch_dir}")
  else()
    message(STATUS "saccade: no CUDA compiler or no CUDA build of torch: building for the CPU only")
  endif()
endif()

if(build_cuda)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90)
  endif()
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 20)
  find_package(CUDAToolkit REQUIRED)
  add_library(_cuda MODULE ${cuda_kernels} ${cuda_bindings})
  set_target_properties(_cuda PROPERTIES PREFIX "" CUDA_RUNTIME_LIBRARY Static CUDA_VISIBILITY_PRESET hidden)
  target_include_directories(_cuda PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(_cuda PRIVATE USE_CUDA)  # torch's header declares its CUDA functions with it
  target_compile_options(_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false --expt-relaxed-constexpr
                                       --compiler-options=-ffp-contract=off $<$<BOOL:${SACCADE_WERROR}>:-Werror=all-warnings>>)
  # The runtime is linked statically: a module built with one CUDA 13.x works beside a torch built with another.
  target_link_libraries(_cuda PRIVATE saccade_ops saccade_torch_api torch_cuda CUDA::cudart_static)
  install(TARGETS _cuda DESTINATION saccade)
endif()

if(SACCADE_CUDA_HOST)
  add_subdirectory(tests/cuda_host)
endif()
