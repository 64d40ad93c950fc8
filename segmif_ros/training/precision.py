# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: what a run computes in, on which device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Name = Literal["auto", "fp32", "bf16", "fp16"]
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Precision:
    """Number format of the network's forward pass; losses and weights stay float32.

    Attributes:
        name: "fp32", "bf16" or "fp16".
        device: type of the device, "cpu" or "cuda".
    """

    name: str
    device: str

    @classmethod
    def choose(cls, wanted: Name, device: torch.device, *, bf16: bool) -> Precision:
        """Choose for a device.

        Args:
            wanted: from the command line; "auto" follows the recipe.
            device: where the network runs.
            bf16: what the recipe says; a GPU without bfloat16 then takes float16.
        """
        name: str = wanted
        if wanted == "auto":
            name = "bf16" if bf16 else "fp32"
            if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
                name = "fp16"
        return cls(name, device.type)

    def autocast(self) -> torch.autocast:
        """Context in which the network is to be called."""
        # For float32 the type is not used, but a CPU warns about types it does not know.
        kind = _TYPES[self.name] if self.name != "fp32" else torch.bfloat16
        return torch.autocast(self.device, kind, enabled=self.name != "fp32")

    def scaler(self) -> torch.amp.GradScaler:
        """Scale losses up so that float16 gradients do not vanish; idle in other formats."""
        return torch.amp.GradScaler(self.device, enabled=self.name == "fp16")
