# SPDX-License-Identifier: Apache-2.0
"""Every tensor the numeric reference holds, taken from one run of the plain or run-time network.

As a module, so that an ONNX export of it gives the same tensors as outputs.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from reference_weights import CASES, shapes, weight
from torch import nn
from torch.nn import functional as F

from segmif_ros.export.checkpoint import Imported, import_states
from segmif_ros.export.export import BytesInBytesOut
from segmif_ros.export.rewrite import FastSegMiF
from segmif_ros.network.fusion import HierarchicalInteractiveAttention
from segmif_ros.network.segmif import SegMiF


def released_states(folder: Path, case: str) -> list[dict[str, torch.Tensor]]:
    assert case in CASES
    return [
        {
            key: torch.from_numpy(weight(key, shape, case))
            for key, shape in shapes((folder / name).read_text()).items()
        }
        for name in ("state_dict_fusion.txt", "state_dict_mit_b1.txt")
    ]


def imported(folder: Path, case: str) -> Imported:
    return import_states(*released_states(folder, case))


class Probe(nn.Module):
    """Runs a network and returns the reference's tensors, in the order of `names`."""

    def __init__(self, network: SegMiF | FastSegMiF, kind: str) -> None:
        super().__init__()
        self.network = network
        self.kind = kind
        self.names: list[str] = []

    def forward(
        self, rgb: torch.Tensor, thermal: torch.Tensor, guide: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        size = int(rgb.shape[2]), int(rgb.shape[3])
        seen: dict[str, list] = {"encoder": [], "hia": [], "ctx": []}
        hooks = []

        def keep(module: nn.Module, name: str) -> None:
            found = seen.setdefault(name, [])
            hooks.append(module.register_forward_hook(lambda _m, _i, out: found.append(out)))

        network = self.network
        fusion = network.fusion
        keep(fusion.dense[0], "drdb1")
        keep(fusion.dense[1], "drdb2")
        if isinstance(network, FastSegMiF):
            keep(network.guidance_encoder, "encoder")
            for interaction in fusion.interactions:
                keep(interaction, "hia")
                for name in ("attend_ir", "attend_vis", "attend_seg"):
                    hooks.append(
                        getattr(interaction, name).register_forward_hook(
                            lambda m, i, _o: seen["ctx"].append(_heads(m.context(i[0])))
                        )
                    )
        else:
            keep(fusion.interaction, "hia")
            hooks.append(_Watch(fusion.interaction, seen["ctx"]))
        keep(network.encoder, "encoder")
        output = network(rgb, thermal, guide)
        for hook in hooks:
            hook.remove()
        found = self._collect(seen, output, size)
        self.names = list(found)
        return tuple(found.values())

    def _collect(self, seen: dict, output, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        guidance_maps, fused_maps = seen["encoder"]
        contexts, order = seen["ctx"], (1, 2, 0)  # both forms begin with the semantic attention
        found = {
            "drdb1": seen["drdb1"][0],
            "drdb2": seen["drdb2"][0],
            **{
                f"hia{call + 1}_{name}": seen["hia"][call][i]
                for call in (0, 1)
                for i, name in enumerate(("ir", "vis"))
            },
            **{
                f"ctx{call + 1}": torch.cat([contexts[3 * call + i] for i in order])
                for call in (0, 1)
            },
            f"fused_{self.kind}": output.luma,
            f"rgb_{self.kind}": output.rgb,
            f"logits_{self.kind}": output.logits,
        }
        for i, features in enumerate(guidance_maps, 1):
            found[f"mask_c{i}"] = features
            found[f"up_c{i}"] = F.interpolate(features, size=size, mode="bilinear")
        for i, features in enumerate(fused_maps, 1):
            found[f"seg_c{i}"] = features
        labels, _ = BytesInBytesOut(self.network, size)._decide(output.logits, *size)
        found[f"argmax_{self.kind}"] = labels[:, 0]
        return found


def _heads(context: torch.Tensor, heads: int = 8) -> torch.Tensor:
    """1x1xCxC block diagonal -> 1xHxdxd."""
    width = int(context.shape[-1]) // heads
    blocks = [
        context[0, 0, h * width : (h + 1) * width, h * width : (h + 1) * width]
        for h in range(heads)
    ]
    return torch.stack(blocks)[None]


class _Watch:
    """Keeps what the plain exchange's `_context` returns."""

    def __init__(self, interaction: HierarchicalInteractiveAttention, found: list) -> None:
        self.interaction = interaction
        original = interaction._context

        def wrapper(kv: torch.Tensor) -> torch.Tensor:
            found.append(original(kv))
            return found[-1]

        interaction._context = wrapper  # type: ignore[method-assign]

    def remove(self) -> None:
        del self.interaction._context


def run_torch(probe: Probe, images: list[np.ndarray]) -> dict[str, np.ndarray]:
    with torch.no_grad():
        tensors = probe(*(torch.from_numpy(image) for image in images))
    return {name: t.numpy() for name, t in zip(probe.names, tensors, strict=True)}


def run_onnx(probe: Probe, images: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Export the probe and run it in ONNX Runtime."""
    import onnxruntime as ort

    buffer = io.BytesIO()
    inputs = ["rgb", "thermal", "guide"]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            probe,
            tuple(torch.from_numpy(image) for image in images),
            buffer,
            input_names=inputs,
            opset_version=17,
            dynamo=False,
        )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = ort.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    tensors = session.run(None, dict(zip(inputs, images, strict=True)))
    return dict(zip(probe.names, tensors, strict=True))
