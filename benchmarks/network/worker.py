# SPDX-License-Identifier: Apache-2.0
"""The process that measures one runtime; prints one line of JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.network.measure import GRAPH, IMAGES, WEIGHTS, Pair, Plan

Result = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""Fused luma HxW before any rounding, and mask HxW."""
Run = Callable[[Pair], Result]

OUTPUTS = ["luma", "mask", "fused", "confidence"]
OPENVINO_PRECISIONS = {"openvino": "f32", "openvino-bf16": "bf16", "openvino-f16": "f16"}
LEAST_RUNS = 3
ENOUGH_SECONDS = 20.0
"""Time after which a runtime that has seen every pair and run three times is timed enough."""


def main(argv: list[str]) -> int:
    """Measure `argv[1]` on the prepared folder `argv[0]`."""
    folder, runtime = Path(argv[0]), argv[1]
    plan = Plan.read(folder)
    images = np.load(folder / IMAGES)
    pairs = list(zip(images["rgb"], images["thermal"], strict=True))
    run = _open(folder, runtime, plan)
    run(pairs[0])
    times: list[float] = []
    busy: list[float] = []
    results: dict[int, Result] = {}
    least = max(LEAST_RUNS, len(pairs))
    while len(times) < least or (len(times) < plan.repeats and sum(times) < ENOUGH_SECONDS):
        which = len(times) % len(pairs)
        start, cpu = time.perf_counter(), time.process_time()
        result = run(pairs[which])
        times.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu)
        results[which] = result
    ordered = [results[i] for i in range(len(pairs))]
    np.savez(
        folder / f"{runtime}.npz",
        luma=np.stack([luma for luma, _ in ordered]),
        mask=np.stack([mask for _, mask in ordered]),
    )
    report = {
        "p50_ms": 1e3 * statistics.median(times),
        "cpu_ms": 1e3 * statistics.median(busy),
        "runs": len(times),
        "peak_mb": _peak_mb(),
    }
    print(json.dumps(report))
    return 0


def _peak_mb() -> float:
    """Largest resident memory of this process so far; getrusage would count the parent's too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def _open(folder: Path, runtime: str, plan: Plan) -> Run:
    if runtime == "onnxruntime":
        return _onnxruntime(folder, plan)
    if runtime in OPENVINO_PRECISIONS:
        return _openvino(folder, plan, OPENVINO_PRECISIONS[runtime])
    return _torch(folder, plan, rewritten=runtime == "rewritten")


def _torch(folder: Path, plan: Plan, *, rewritten: bool) -> Run:
    import torch

    from benchmarks.network.prepare import LumaBesides
    from segmif_ros.export.rewrite import rewrite
    from segmif_ros.network.variants import build

    torch.set_num_threads(plan.threads)
    network = build(plan.variant, plan.classes).eval()
    network.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    if rewritten:
        network = rewrite(network)
    module = LumaBesides(network, plan.size).eval()

    def run(pair: Pair) -> Result:
        with torch.inference_mode():
            luma, mask, *_ = module(*(torch.from_numpy(image) for image in pair))
            return luma.numpy(), mask.numpy()

    return run


def _onnxruntime(folder: Path, plan: Plan) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = plan.threads
    options.log_severity_level = 3
    # A plan of all tensors beside the arena that holds them costs memory twice and gains no time.
    options.enable_mem_pattern = False
    path = str(folder / GRAPH)
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(pair: Pair) -> Result:
        luma, mask, *_ = session.run(OUTPUTS, {"rgb": pair[0], "thermal": pair[1]})
        return luma, mask

    return run


def _openvino(folder: Path, plan: Plan, precision: str) -> Run:
    import openvino as ov

    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": plan.threads,
        "INFERENCE_PRECISION_HINT": precision,
    }
    request = ov.Core().compile_model(folder / GRAPH, "CPU", config).create_infer_request()

    def run(pair: Pair) -> Result:
        request.infer({"rgb": pair[0], "thermal": pair[1]}, share_inputs=True)
        luma, mask, *_ = (np.array(request.get_tensor(name).data) for name in OUTPUTS)
        return luma, mask

    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
