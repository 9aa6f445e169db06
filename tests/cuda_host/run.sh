#!/usr/bin/env bash
# run.sh DIR [pytest arguments]: compiles the CUDA kernels for the CPU (cuda/README.md) into DIR, with AddressSanitizer and
# UndefinedBehaviorSanitizer, and runs the tests of the operators that have a CUDA kernel on them. Needs `saccade` importable.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mkdir -p "$1" && realpath "$1")
shift
python=${PYTHON:-python}
cmake -S . -B "$dir" -G Ninja -DSACCADE_SANITIZE=ON -DSACCADE_CUDA=OFF -DSACCADE_CUDA_HOST=ON \
  -DPython_EXECUTABLE="$(command -v "$python")" -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" > /dev/null
cmake --build "$dir" --target _cuda_host cuda_host_harness | tail -n 1

if [[ $# -eq 0 ]]; then
  set -- tests/cuda_host
  for binding in cuda/bind/*.cpp; do
    for tests in tests/ops/test_{,*_}"$(basename "$binding" .cpp)"{,_backward,_errors,_out}.py; do
      [[ ! -f $tests ]] || set -- "$@" "$tests"
    done
  done
  # What torch itself does with an operator is tested on the CPU kernels.
  set -- "$@" -k "not compile and not export and not opcheck"
fi
SACCADE_TORCH_LIBRARY=$dir/tests/cuda_host/_cuda_host.so exec .ci/pytest_sanitized "$dir" "$@"
