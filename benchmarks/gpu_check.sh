#!/usr/bin/env bash
# gpu_check.sh DIR [--filter NAME]: on a machine with a GPU, without network: builds with CUDA, runs every test marked `cuda`
# and every test of the CUDA module, then the CUDA benchmarks, and writes DIR/gpu_check.json. Copy that file into
# benchmarks/results (gpu_check_<GPU>.json) and take the kernels that have run off the list in cuda/README.md. Needs nvcc and, for
# PYTHON (default: python3): torch built for CUDA, pybind11, scikit-build-core, cmake, ninja, and the extras `test` and `bench`.
set -uo pipefail
cd "$(dirname "$0")/.."
dir=$(mkdir -p "$1" && realpath "$1")
shift
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 SACCADE_REQUIRE_CUDA=1

"$python" -m pip install --quiet --no-index --no-deps --no-build-isolation --target "$dir/package" --upgrade \
  -C cmake.define.SACCADE_CUDA=ON -C build-dir="$dir/build" . > "$dir/build.log" 2>&1 || { tail -n 60 "$dir/build.log"; exit 1; }
echo "built in $SECONDS s"

export PYTHONPATH=$dir/package
"$python" -m pytest -m cuda --junitxml="$dir/tests.xml" -p no:cacheprovider tests > "$dir/tests.log" 2>&1
tests=$?
tail -n 25 "$dir/tests.log"
"$python" -m pytest -p no:cacheprovider tests/test_cuda_module.py -k registers
echo "tested after $SECONDS s"

"$python" -m saccade bench --device cuda --json "$dir/bench.json" "$@"
benchmarks=$?
"$python" benchmarks/record_gpu_run.py "$dir"
exit $((tests || benchmarks))
