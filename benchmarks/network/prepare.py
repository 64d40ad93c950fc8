# SPDX-License-Identifier: Apache-2.0
"""The network, graph and images that a benchmark measures."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from benchmarks.network.measure import GRAPH, IMAGES, WEIGHTS, Pair, Plan
from segmif_ros.export.export import BytesInBytesOut, trace
from segmif_ros.export.graph import fold_shapes
from segmif_ros.export.rewrite import FastSegMiF, rewrite
from segmif_ros.network.segmif import SegMiF

LUMA_MEAN, LUMA_STD = 0.45, 0.2
"""Brightness and contrast that random weights are adjusted to, of 1."""
RIDGE = 1e-3
"""Weight of the penalty on large weights in the class layer, of the features' mean energy."""


class LumaBesides(nn.Module):
    """Bytes in; fused luma as float32 besides the bytes out."""

    def __init__(self, network: SegMiF | FastSegMiF, size: tuple[int, int]) -> None:
        super().__init__()
        self.bytes_out = BytesInBytesOut(network, size)
        self.lumas: list[Tensor] = []
        network.register_forward_hook(lambda _m, _i, output: self.lumas.append(output.luma))

    def forward(self, rgb: Tensor, thermal: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """HxWx3 and HxW uint8 -> luma float32, mask, fused, confidence."""
        self.lumas.clear()
        fused, mask, confidence = self.bytes_out(rgb, thermal)
        return self.lumas.pop()[0, 0], mask, fused, confidence


def prepare(folder: Path, plan: Plan, pairs: list[Pair], network: SegMiF) -> None:
    """Write weights, graph, images and plan into `folder`.

    Args:
        folder: an existing folder.
        plan: what to measure.
        pairs: at least one pair of the plan's size.
        network: the plain network in eval mode.
    """
    torch.save(network.state_dict(), folder / WEIGHTS)
    feed = dict(zip(("rgb", "thermal"), map(torch.from_numpy, pairs[0]), strict=True))
    module = LumaBesides(rewrite(network), plan.size).eval()
    with torch.no_grad():
        data = trace(module, feed, ["luma", "mask", "fused", "confidence"])
    graph = fold_shapes(onnx.load_from_string(data))
    (folder / GRAPH).write_bytes(graph.SerializeToString())
    np.savez(
        folder / IMAGES,
        rgb=np.stack([rgb for rgb, _ in pairs]),
        thermal=np.stack([thermal for _, thermal in pairs]),
    )
    plan.write(folder)


def fill(network: SegMiF, seed: int, pair: Pair) -> None:
    """Give `network` random weights that behave like trained ones where precision matters.

    Every layer keeps the size of its signal, and the attention is neither flat nor one-hot at
    480x640. On `pair` the fused luma has the brightness and contrast of a photograph, and the class
    layer, fitted by least squares, separates bands of thermal brightness: regions with borders,
    and most pixels far from one. Fresh weights from initialisation would make differences look
    smaller than they are; classes drawn by lot would be decided by rounding everywhere.
    """
    with torch.no_grad():
        for name, value in network.state_dict().items():
            generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
            if name in ("mean", "std") or name.endswith("num_batches_tracked"):
                continue
            value.copy_(torch.from_numpy(_random(name, tuple(value.shape), generator)))
        rgb = torch.from_numpy(pair[0]).permute(2, 0, 1)[None] / 255.0
        thermal = torch.from_numpy(pair[1])[None, None] / 255.0
        _adjust_luma(network, rgb, thermal)
        _fit_classes(network, rgb, thermal)


def _random(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    normal = generator.standard_normal(shape)
    if name == "fusion.activation.weight":
        return np.full(shape, 0.25)
    if name.endswith("running_mean"):
        return 0.05 * normal
    if name.endswith("running_var"):
        return np.abs(1.0 + 0.1 * normal)
    if len(shape) >= 2:
        gain = 1.0 / 32.0 if ".kv_" in name else 1.0
        return gain * normal / np.sqrt(np.prod(shape[1:]))
    return 0.02 * normal if name.endswith("bias") else 1.0 + 0.05 * normal


def _adjust_luma(network: SegMiF, rgb: Tensor, thermal: Tensor) -> None:
    """Set the last layer of the fusion network from what it gives."""
    seen: list[Tensor] = []
    fast = rewrite(network)
    fast.fusion.tail3.register_forward_hook(lambda _m, _i, output: seen.append(output))
    fast(rgb, thermal)
    tail = network.fusion.tail3
    gain = LUMA_STD / float(seen[0].std())
    tail.bias.copy_((tail.bias - seen[0].mean()) * gain + LUMA_MEAN)
    tail.weight.mul_(gain)


def _fit_classes(network: SegMiF, rgb: Tensor, thermal: Tensor) -> None:
    """Set the class layer so that its logits are those of bands of equal area."""
    seen: list[Tensor] = []
    fast = rewrite(network)
    fast.head.predict.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    fast(rgb, thermal)
    features = seen[0][0].flatten(1).t()
    predict = network.head.predict
    classes = predict.out_channels
    heat = nn.functional.interpolate(thermal, size=seen[0].shape[-2:], mode="area").flatten()
    edges = torch.quantile(heat, torch.linspace(0.0, 1.0, classes + 1)[1:-1])
    wanted = nn.functional.one_hot(torch.bucketize(heat, edges), classes).float()
    middle = features.mean(dim=0)
    centred = (features - middle).double()
    gram = centred.t() @ centred
    ridge = RIDGE * float(gram.diagonal().mean())
    eye = torch.eye(gram.shape[0], dtype=torch.float64)
    solution = torch.linalg.solve(gram + ridge * eye, centred.t() @ wanted.double()).float()
    predict.weight.copy_(solution.t()[:, :, None, None])
    predict.bias.copy_(wanted.mean(dim=0) - middle @ solution)
