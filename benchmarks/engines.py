# SPDX-License-Identifier: Apache-2.0
"""Times one bundle on every CPU engine, interleaved so that a noisy machine hits all alike.

python benchmarks/engines.py models/segmif-nano
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from time import perf_counter

import numpy as np

from segmif_ros.bundle import Bundle
from segmif_ros.engines.base import Engine, Inference
from segmif_ros.engines.onnxruntime import OnnxRuntimeEngine
from segmif_ros.engines.openvino import OpenVinoEngine
from segmif_ros.rig.scene.sampling import training_frame
from segmif_ros.thermal import ThermalNormaliser


def cpu_name() -> str:
    """Model name of the processor and its instruction sets that matter here."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    name = next((x.split(":")[1].strip() for x in text.splitlines() if "model name" in x), "?")
    sets = [s for s in ("avx2", "avx512f", "amx_bf16", "amx_int8") if f" {s}" in text]
    return f"{name} ({', '.join(sets)}), {os.cpu_count()} cores"


def main() -> None:
    """Measure and print a table; --json writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    bundle = Bundle.load(args.bundle)
    engines: dict[str, Engine] = {
        "onnxruntime fp32": OnnxRuntimeEngine(bundle),
        "openvino fp32": OpenVinoEngine(bundle, precision="fp32"),
        "openvino auto": OpenVinoEngine(bundle),
    }
    frame = training_frame(1)
    pair = (frame.rgb, ThermalNormaliser().normalise(frame.thermal))
    # A copy: the engine writes over its results at the next run.
    reference = Inference(*map(np.copy, engines["onnxruntime fp32"].infer(*pair)))
    times: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(args.rounds + 5):
        for name, engine in engines.items():
            began = perf_counter()
            engine.infer(*pair)
            if turn >= 5:
                times[name].append(1e3 * (perf_counter() - began))
    rows = []
    for name, engine in engines.items():
        result = engine.infer(*pair)
        p5, p50, p95 = np.percentile(times[name], (5, 50, 95))
        rows.append(
            {
                "engine": name,
                "precision": engine.describe()["precision"],
                "runtime": engine.describe()["runtime"],
                "p5_ms": round(float(p5), 1),
                "p50_ms": round(float(p50), 1),
                "p95_ms": round(float(p95), 1),
                "fused_max_difference": int(
                    np.abs(result.fused.astype(int) - reference.fused.astype(int)).max()
                ),
                "mask_agreement": round(float((result.mask == reference.mask).mean()), 5),
            }
        )
    print(f"{bundle.manifest.name} at {bundle.manifest.size}, {cpu_name()}")
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    if args.json:
        args.json.write_text(json.dumps({"cpu": cpu_name(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
