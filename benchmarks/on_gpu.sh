#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# All that needs an NVIDIA GPU, in one go: the tests marked gpu, with TensorRT and with TensorRT for
# RTX, then every time of benchmarks/gpu_times.py that is not measured yet, and the table.
#   benchmarks/on_gpu.sh RUNS [SECONDS]
# RUNS is what `gpu_times.py prepare RUNS` wrote on any machine; call again until it says "all
# measured". PYTHON has pytest, pycuda, onnx, onnxruntime and a TensorRT (default python3), TORCH
# PyTorch (default PYTHON). What is not installed is skipped, with the reason.
set -u
runs=${1:?usage: on_gpu.sh RUNS [SECONDS]}; limit=${2:-540}
here=$(cd "$(dirname "$0")/.." && pwd); python=${PYTHON:-python3}; torch=${TORCH:-$python}
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
left() { echo $((limit - SECONDS)); }
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || exit 3
# A `tensorrt` that cannot be imported, as where only TensorRT for RTX is installed.
hidden=$(mktemp -d); trap 'rm -rf "$hidden"' EXIT
echo 'raise ImportError("hidden")' > "$hidden/tensorrt.py"
for path in "" "$hidden"; do
  echo "== tests marked gpu${path:+, TensorRT for RTX}"
  PYTHONPATH=${path:+$path:}$PYTHONPATH timeout "$(left)" "$python" -m pytest --noconftest -q -rs \
      -p no:cacheprovider "$here/test/engines/tensorrt/test_gpu.py"
done
"$python" "$here/benchmarks/gpu_times.py" run "$runs" --limit-s "$(left)" \
    --methods {tensorrt,rtx}-{fp32,fp16,int8}
"$torch" "$here/benchmarks/gpu_times.py" run "$runs" --limit-s "$(left)" \
    --methods torch-fp32 torch-compile torch-fp16
"$python" "$here/benchmarks/gpu_times.py" table "$runs"
