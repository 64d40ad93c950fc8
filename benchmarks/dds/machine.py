# SPDX-License-Identifier: Apache-2.0
"""What machine the figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_TELLING = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")


def machine_facts(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Return processor, instruction sets that matter to engines, cores, kernel and load."""
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    lines = (line.partition(":") for line in text.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in lines}
    flags = fields.get("flags", "").split()
    return {
        "cpu": fields.get("model name", platform.machine()),
        "instructions": " ".join(name for name in _TELLING if name in flags),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
