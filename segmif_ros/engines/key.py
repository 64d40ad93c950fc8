# SPDX-License-Identifier: Apache-2.0
"""The key of an engine and its verdict: everything that they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1
"""Version of this layout and of the build; other versions are not reused."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that an engine depends on; engines with equal keys are interchangeable.

    Attributes:
        model_sha256: digest of the ONNX file it was built from.
        runtime: name and full version, for example "tensorrt 10.3.0".
        gpu: name of the GPU, or of the group of GPUs that it was built ahead for.
        capability: its compute capability, for example "9.0".
        memory_mib: its memory, where it is the machine's (one name comes in several sizes), else 0.
        driver: major release of the driver.
        precision: "fp32", "fp16" or "int8".
        shapes: tensor name -> shape.
        options: of the build and of the gate: thresholds, reference, pairs.
    """

    model_sha256: str
    runtime: str
    gpu: str
    capability: str
    memory_mib: int
    driver: str
    precision: str
    shapes: Mapping[str, tuple[int, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the key with lists instead of tuples, as read from JSON."""
        return dict(json.loads(json.dumps({"format": FORMAT, **asdict(self)})))

    @property
    def digest(self) -> str:
        """16 hex digits of the whole key."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Describe the differences of two keys: "tensorrt was 10.3.0, is 10.7.0"."""
    parts = []
    for name in wanted:
        was, now = found.get(name), wanted[name]
        if was == now:
            continue
        if isinstance(was, dict) and isinstance(now, dict):
            parts.append(f"{name}: {difference(was, now)}")
        elif name.endswith("sha256"):
            parts.append("the model file has changed")
        else:
            parts.append(f"{name} was {was}, is {now}")
    extra = sorted(set(found) - set(wanted))
    return "; ".join([*parts, *(f"{name} is no longer known" for name in extra)])
