# SPDX-License-Identifier: Apache-2.0
"""What larger machines should carry, computed from data sheets; nothing here was measured there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.dds.tables import markdown
from segmif_ros.export.cost import graph_cost

MODEL = Path(__file__).resolve().parent.parent / "models" / "segmif-nano" / "model.onnx"

COMPUTE_SHARE = 0.10
"""Of the stated dense fp16 rate: small convolutions do not fill a large GPU."""
BANDWIDTH_SHARE = 0.50
"""Of the stated memory bandwidth."""
CORE_SHARE = 0.50
"""Of the cores are for nodes like this; the rest is for drivers, DDS and the listeners."""
CAMERA_HZ = 30.0


@dataclass(frozen=True, slots=True)
class Computer:
    """Figures of a data sheet, and assumptions where it has none.

    Attributes:
        name: as sold.
        fp16_tflops: dense, matrix units.
        bandwidth_gb_s: memory of the GPU.
        cores: CPU cores; of the machine around it where the product is a card.
        core_slowness: time of one of its cores over that of the measured machine's; assumed.
    """

    name: str
    fp16_tflops: float
    bandwidth_gb_s: float
    cores: int
    core_slowness: float


COMPUTERS = (
    Computer("Jetson AGX Orin 64 GB", 42.5, 204.8, 12, 2.0),
    Computer("desktop, RTX 4090, 16 cores", 165.0, 1008.0, 16, 1.0),
    Computer("server, H200, 32 cores", 989.0, 4800.0, 32, 1.0),
)


def carried(cpu_ms_per_pair: float) -> str:
    """Return the table of rigs at `CAMERA_HZ`.

    Args:
        cpu_ms_per_pair: of the node around the engine, measured here.
    """
    cost = graph_cost(MODEL.read_bytes()).total
    gflop = cost.gflop
    # What is written is read again, but at two bytes a number instead of four.
    traffic_gb = cost.written_mb / 1e3
    rows = []
    for computer in COMPUTERS:
        compute_ms = gflop / (COMPUTE_SHARE * computer.fp16_tflops)
        memory_ms = 1e3 * traffic_gb / (BANDWIDTH_SHARE * computer.bandwidth_gb_s)
        gpu_hz = 1e3 / max(compute_ms, memory_ms)
        cpu_ms = cpu_ms_per_pair * computer.core_slowness
        cpu_hz = CORE_SHARE * computer.cores * 1e3 / cpu_ms
        rows.append(
            (
                computer.name,
                f"{compute_ms:.2f}",
                f"{memory_ms:.2f}",
                f"{gpu_hz:.0f}",
                f"{cpu_ms:.1f}",
                f"{cpu_hz:.0f}",
                f"{min(gpu_hz, cpu_hz) / CAMERA_HZ:.0f}",
                "GPU" if gpu_hz < cpu_hz else "CPU",
            )
        )
    head = (
        "computed, not measured", "GPU: compute ms", "GPU: memory ms", "GPU: pairs/s",
        "CPU ms a pair", "CPU: pairs/s", f"rigs at {CAMERA_HZ:g} Hz", "limit",
    )  # fmt: skip
    slower = ", ".join(
        f"on the {each.name} {each.core_slowness:g} times slower"
        for each in COMPUTERS
        if each.core_slowness != 1.0
    )
    note = (
        f"From: {gflop:.2f} GFLOP and {traffic_gb:.2f} GB of memory traffic a pair (`segmif info`, "
        f"fp16), {cpu_ms_per_pair:.1f} ms of processor time a pair without the engine (measured "
        f"above), {100 * COMPUTE_SHARE:.0f} % of the stated dense fp16 rate, "
        f"{100 * BANDWIDTH_SHARE:.0f} % of the stated bandwidth, {100 * CORE_SHARE:.0f} % of the "
        f"cores. Cores are assumed to be as fast as here, {slower}."
    )
    return f"{markdown(head, rows)}\n\n{note}"
