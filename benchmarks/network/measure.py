# SPDX-License-Identifier: Apache-2.0
"""Time, memory and agreement of one network in every runtime of this machine.

Every runtime gets a process of its own, so that its peak memory is its own; all of them read the
same weights and the same images from one folder, which `benchmark_network.prepare` fills.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""RGB HxWx3 and thermal HxW."""

REFERENCE = "pytorch"
RUNTIMES = {
    REFERENCE: "PyTorch, as it comes",
    "pytorch-malloc": "PyTorch, allocator keeps its pages",
    "rewritten": "PyTorch, run-time form, allocator keeps its pages",
    "onnxruntime": "ONNX Runtime, fp32",
    "openvino": "OpenVINO, fp32",
    "openvino-bf16": "OpenVINO, bf16",
    "openvino-f16": "OpenVINO, fp16",
}
KEEP_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
"""glibc settings that end the page faults of large, short-lived tensors."""
WEIGHTS, GRAPH, IMAGES, PLAN = "weights.pt", "model.onnx", "images.npz", "plan.json"
WORKER = "benchmarks.network.worker"


class BenchmarkError(RuntimeError):
    """A runtime could not be measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        variant: row of `network.variants.VARIANTS`.
        classes: number of classes.
        size: (height, width) in pixels.
        threads: CPU threads of every runtime.
        repeats: most timed runs of a runtime.
    """

    variant: str
    classes: int
    size: tuple[int, int]
    threads: int
    repeats: int

    def write(self, folder: Path) -> None:
        """Store the plan in a folder."""
        (folder / PLAN).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Read what `write` stored."""
        raw = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        return cls(**(raw | {"size": tuple(raw["size"])}))


@dataclass(frozen=True, slots=True)
class Measurement:
    """One runtime.

    Attributes:
        runtime: key of `RUNTIMES`.
        p50_ms: median time of a frame.
        cpu_ms: median processor time of a frame over all threads; close to p50 times threads on a
            quiet machine, so a much smaller one shows that the machine was not.
        runs: timed runs.
        peak_mb: largest resident memory of its process, 10^6 bytes.
        luma_difference: largest difference of the fused luma from plain PyTorch, of 1.
        psnr_db: of the fused luma against plain PyTorch.
        mask_agreement: share of pixels with the same class as in plain PyTorch.
    """

    runtime: str
    p50_ms: float
    cpu_ms: float
    runs: int
    peak_mb: float
    luma_difference: float
    psnr_db: float
    mask_agreement: float


def measure(folder: Path, runtimes: list[str]) -> list[Measurement]:
    """Run every runtime on a prepared folder, plain PyTorch first.

    Raises:
        BenchmarkError: a process failed; the message holds its last line.
    """
    found: list[Measurement] = []
    reference: Mapping[str, NDArray[Any]] = {}
    for runtime in [REFERENCE, *(r for r in runtimes if r != REFERENCE)]:
        report = _start(folder, runtime)
        outputs = dict(np.load(folder / f"{runtime}.npz"))
        reference = reference or outputs
        off = outputs["luma"].astype(np.float64) - reference["luma"]
        error = float((off**2).mean())
        found.append(
            Measurement(
                runtime,
                float(report["p50_ms"]),
                float(report["cpu_ms"]),
                int(report["runs"]),
                float(report["peak_mb"]),
                float(np.abs(off).max()),
                float("inf") if error == 0.0 else -10.0 * float(np.log10(error)),
                float((outputs["mask"] == reference["mask"]).mean()),
            )
        )
    return found


def _start(folder: Path, runtime: str) -> Mapping[str, Any]:
    checkout = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (checkout, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    if runtime in ("pytorch-malloc", "rewritten"):
        environment |= KEEP_PAGES
    done = subprocess.run(
        [sys.executable, "-m", WORKER, str(folder), runtime],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BenchmarkError(f"{runtime} failed: {lines[-1]}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report
