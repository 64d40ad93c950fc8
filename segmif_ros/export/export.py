# SPDX-License-Identifier: Apache-2.0
"""Exports a trained network as a bundle whose ONNX graph has uint8 inputs and outputs.

Normalisation, guidance, colour, resizing of logits, argmax and confidence are part of the graph, so
that only bytes cross to the device and back, and every runtime gives the same picture.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.bundle import Bundle, LabelClass, Manifest
from segmif_ros.export.bundle_writer import store_bundle
from segmif_ros.export.graph import fold_shapes, halve_weights, inline_weights
from segmif_ros.export.rewrite import rewrite
from segmif_ros.network.compact import CompactSegMiF
from segmif_ros.network.folding import BLOCK, FOLDED
from segmif_ros.network.segmif import SegMiF, upsample_logits

OPSET = 17
MULTIPLE = 32
"""Total stride of the compact network; other sizes are padded inside its graph and cropped again.

The published cascade takes any size as it is: padding would add to its attention, which sums over
all pixels.
"""
_EXACT = float(1 << 24)
"""Largest range of consecutive integers in float32."""
_FURTHEST = 256.0
"""Largest difference from the winning score that is distinguished."""
GUIDANCE_INPUT = "guidance"
"""Name of the third input, HxW uint8, of a bundle whose guidance is supplied."""


class ExportError(RuntimeError):
    """The exported graph does not reproduce the network."""


class BytesInBytesOut(nn.Module):
    """Wraps a network with uint8 inputs and outputs of one fixed size.

    A cascade with "supplied" guidance has that image as a third input.
    """

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.size = size
        if isinstance(network, CompactSegMiF):
            self._register_folding(network)

    def forward(
        self, rgb: Tensor, thermal: Tensor, guide: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """HxWx3 and HxW uint8 -> fused HxWx3, mask HxW, confidence HxW, all uint8."""
        height, width = self.size
        # The cast comes first: TensorRT allows uint8 only on inputs and outputs.
        if isinstance(self.network, CompactSegMiF):
            bottom, right = -height % MULTIPLE, -width % MULTIPLE
            return self._forward_blocks(rgb.float(), thermal.float(), bottom, right)
        output = self.network(
            (rgb.float() * (1.0 / 255.0)).permute(2, 0, 1).unsqueeze(0),
            _grey(thermal),
            None if guide is None else _grey(guide),
        )
        mask, confidence = self._decide(output.logits, height, width)
        return (
            _to_bytes(output.rgb[0].permute(1, 2, 0) * 255.0),
            _to_bytes(mask[0, 0]),
            _to_bytes(confidence[0, 0] * 255.0),
        )

    def _forward_blocks(
        self, rgb: Tensor, thermal: Tensor, bottom: int, right: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The compact network straight from interleaved bytes."""
        rgb, thermal = (_extend(image, bottom, right) for image in (rgb, thermal))
        height, width = self.size[0] + bottom, self.size[1] + right
        output = self.network.forward_blocks(
            _fold(rgb, self.fold_visible), _fold(thermal, self.fold_thermal)
        )
        change = F.pixel_shuffle(output.change * 255.0, BLOCK)
        # Repeated three times by a product: runtimes are slow at broadcasting a sum.
        change = (change.reshape(-1, BLOCK**2) @ self.thrice).reshape(height, width, 3)
        mask, confidence = self._decide_at_half_size(output.logits)
        levels = torch.clamp(torch.round(confidence * 255.0), 0.0, 255.0)
        images = (
            _to_bytes(rgb + change),
            self.enlarge_mask(mask).to(torch.uint8),
            self.enlarge_confidence(torch.cat([levels] * 4)).to(torch.uint8),
        )
        if not (bottom or right):
            return images
        fused, mask, confidence = (image[: self.size[0], : self.size[1]] for image in images)
        return fused, mask, confidence

    def _register_folding(self, network: CompactSegMiF) -> None:
        """Merge the network's folding with that of bytes, see `_fold`."""
        eye = torch.eye(FOLDED) / 255.0
        colour = torch.zeros(3, FOLDED, BLOCK, BLOCK, 3)
        for channel in range(3):
            colour[channel, ..., channel] = eye.reshape(FOLDED, BLOCK, BLOCK)
        visible = network.folding.visible_matrix @ colour.reshape(3 * FOLDED, -1)
        thermal = network.folding.thermal_matrix @ eye
        for name, matrix in (("fold_visible", visible), ("fold_thermal", thermal)):
            kernels = matrix.reshape(matrix.shape[0], BLOCK, -1, 1)
            self.register_buffer(name, kernels.transpose(1, 2).contiguous())
        self.register_buffer("thrice", torch.eye(BLOCK**2).repeat_interleave(3, dim=1))
        self.enlarge_mask, self.enlarge_confidence = Enlarge(), Enlarge()

    @staticmethod
    def _decide(logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Logits -> float class ids and winning probability, both 1x1xHxW."""
        scores = upsample_logits(logits, (height, width))
        best = scores.amax(dim=1, keepdim=True)
        confidence = 1.0 / torch.exp(scores - best).sum(dim=1, keepdim=True)
        # The first maximum, as argmax gives it; runtimes turn ArgMax into a slow top-k.
        mask = (
            scores.shape[1]
            - 1
            - ((scores >= best).to(scores.dtype) * _rank(scores)).amax(dim=1, keepdim=True)
        )
        return mask, confidence

    @staticmethod
    def _decide_at_half_size(logits: Tensor) -> tuple[Tensor, Tensor]:
        """The same for the compact network: its logits, 1/4 of the picture's size, doubled.

        Score and class share one float32, so that a single maximum finds both: the class takes the
        lowest bits of the 24 that are exact, the score the others. Scores count from the winner of
        their block down to -256, beyond which no class can win. A runtime must not compute this in
        16 bits, so no operator of those that OpenVINO computes in bf16 (Resize, MatMul) may follow.

        Returns:
            4x1xhxw: float class ids at twice the size of the logits (upper left, upper right, lower
            left and lower right pixel of each), and 1x1xhxw probability, which is smooth.
        """
        # As one row: OpenVINO then stores the numbers of a class contiguously and sums them fast.
        flat = logits.flatten(2)
        behind = flat - flat.amax(dim=1, keepdim=True)
        confidence = 1.0 / torch.exp(behind).sum(dim=1, keepdim=True)
        ids = float(1 << (int(logits.shape[1]) - 1).bit_length())
        scores = behind.clamp(min=-_FURTHEST) * (_EXACT / (_FURTHEST * ids))
        scores = scores.reshape(logits.shape)
        rank, last = _rank(logits) * (1.0 / ids), logits.shape[1] - 1
        quarters = []
        for rows in _double(scores, 2):
            for quarter in _double(rows, 3):
                best = (torch.floor(quarter) + rank).amax(dim=1, keepdim=True)
                quarters.append(last - ids * (best - torch.floor(best)))
        return torch.cat(quarters), confidence.reshape(1, 1, *logits.shape[2:])


class Enlarge(nn.Module):
    """Expands the decision for a quarter of a block to each of its 4x4 pixels."""

    def forward(self, quarters: Tensor) -> Tensor:
        """4x1xhxw, see `BytesInBytesOut._decide_at_half_size` -> 4hx4w."""
        height, width = quarters.shape[-2:]
        parts = quarters.reshape(4, height * width).split(1)
        # By transposing and concatenating rows: Resize, Expand and broadcasting are much slower.
        upper, lower = (
            torch.cat([left, left, right, right]).t().reshape(height, 1, 4 * width)
            for left, right in (parts[:2], parts[2:])
        )
        return torch.cat([upper, upper, lower, lower], dim=1).reshape(4 * height, 4 * width)


def _fold(image: Tensor, kernels: Tensor) -> Tensor:
    """HxW[xC] bytes -> folded channels: a convolution whose channels are four pixels of a row.

    Runtimes execute it faster than a convolution with one or three channels and than a
    transposition of blocks.
    """
    rows = image.reshape(1, image.shape[0], -1, kernels.shape[1])
    return F.conv2d(rows.permute(0, 3, 1, 2), kernels, stride=(BLOCK, 1))


def _rank(scores: Tensor) -> Tensor:
    """1xKx1x1: K - 1 for the first class down to 0 for the last."""
    last = scores.shape[1] - 1
    return torch.arange(last, -1, -1, dtype=scores.dtype).view(1, -1, 1, 1)


def _double(scores: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """First and second halves of a bilinear enlargement by two along one axis.

    Two sums; Resize without a fixed factor takes three times as long.
    """
    rows, columns = (1, 0) if dim == 2 else (0, 1)
    wide = F.pad(scores, (columns, columns, rows, rows), mode="replicate")
    before, behind = (wide.narrow(dim, start, scores.shape[dim]) for start in (0, 2))
    near = scores * 0.75
    return near + before * 0.25, near + behind * 0.25


def _grey(image: Tensor) -> Tensor:
    """HxW uint8 -> 1x1xHxW in [0, 1]."""
    return (image.float() * (1.0 / 255.0)).unsqueeze(0).unsqueeze(0)


def _extend(image: Tensor, bottom: int, right: int) -> Tensor:
    """Repeat the last row and column of HxW[xC]."""
    if bottom:
        image = torch.cat([image, *[image[-1:]] * bottom], dim=0)
    if right:
        image = torch.cat([image, *[image[:, -1:]] * right], dim=1)
    return image


def _to_bytes(image: Tensor) -> Tensor:
    # The cast truncates and is undefined outside the range, so both come before it.
    return torch.clamp(torch.round(image), 0.0, 255.0).to(torch.uint8)


def export_onnx(network: nn.Module, size: tuple[int, int], *, half_weights: bool = False) -> bytes:
    """Trace `network` at (height, width) into a self-contained ONNX file, opset 17.

    The published cascade is exported in its run-time form (`export.rewrite`) and compared with the
    plain one.

    Raises:
        ExportError: ONNX Runtime and the plain PyTorch network disagree on a test image.
    """
    plain = BytesInBytesOut(network, size).eval()
    traced = plain
    names = ["rgb", "thermal"]
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(smooth_image(rng, size, 3))]
    images.append(torch.from_numpy(smooth_image(rng, size, 1)[..., 0].copy()))
    truncated = False
    if isinstance(network, SegMiF):
        traced = BytesInBytesOut(rewrite(network), size).eval()
        truncated = network.switches.eight_bit_hand_over
        if network.switches.guidance == "supplied":
            names.append(GUIDANCE_INPUT)
            images.append(torch.from_numpy(smooth_image(rng, size, 1)[..., 0].copy()))
    data = trace(traced, dict(zip(names, images, strict=True)), ["fused", "mask", "confidence"])
    model = fold_shapes(onnx.load_from_string(data))
    if half_weights:
        halve_weights(inline_weights(model))
    data = model.SerializeToString()
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    with torch.no_grad():
        expected = [t.numpy() for t in plain(*images)]
    feed = {name: image.numpy() for name, image in zip(names, images, strict=True)}
    _compare(data, feed, expected, truncated=truncated)
    return data


def trace(module: nn.Module, feed: Mapping[str, Tensor], outputs: list[str]) -> bytes:
    """Trace `module` on named tensors and return an ONNX file, opset 17."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns about every fixed shape, as intended
        torch.onnx.export(
            module,
            tuple(feed.values()),
            buffer,
            input_names=list(feed),
            output_names=outputs,
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
    return buffer.getvalue()


def write_bundle(
    network: nn.Module,
    folder: Path,
    *,
    name: str,
    variant: str,
    size: tuple[int, int],
    classes: tuple[LabelClass, ...],
    switches: Mapping[str, Any],
    provenance: Mapping[str, Any],
    licence: str,
    half_weights: bool = False,
) -> Bundle:
    """Export `network` and write ONNX and manifest into `folder`; returns the verified bundle.

    Raises:
        ExportError: see `export_onnx`.
    """
    data = export_onnx(network, size, half_weights=half_weights)
    return store_bundle(
        folder,
        data,
        Manifest(
            name=name,
            model="model.onnx",
            sha256=hashlib.sha256(data).hexdigest(),
            size=size,
            classes=classes,
            variant=variant,
            switches=switches,
            provenance=provenance,
            licence=licence,
        ),
    )


def smooth_image(rng: np.random.Generator, size: tuple[int, int], channels: int) -> np.ndarray:
    """Random uint8 image with structure at 32 pixels, so that resizing is exercised."""
    height, width = size
    coarse = rng.random((1, channels, height // 32 + 2, width // 32 + 2), np.float32)
    fine = F.interpolate(torch.from_numpy(coarse), size=size, mode="bicubic")
    image = (fine[0].permute(1, 2, 0).clamp(0, 1) * 255.0).to(torch.uint8)
    return np.ascontiguousarray(image.numpy())


def _compare(
    data: bytes, feed: Mapping[str, np.ndarray], expected: list[np.ndarray], *, truncated: bool
) -> None:
    """Refuse a graph whose results differ from the network's.

    If the network truncates to 8 bits, rounding can change a value by a whole level, and a stretch
    amplifies this. Then one pixel in a thousand may differ.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    fused, mask, confidence = session.run(["fused", "mask", "confidence"], dict(feed))
    off = np.abs(fused.astype(int) - expected[0].astype(int))
    stray = float((off > 1).mean())
    same = float((mask == expected[1]).mean())
    sure = int(np.abs(confidence.astype(int) - expected[2].astype(int)).max())
    if stray > (1e-3 if truncated else 0.0) or same < 0.999 or (same == 1.0 and sure > 1):
        raise ExportError(
            f"the exported graph differs from the network: fused by {off.max()} grey levels, mask "
            f"equal on {same:.2%}, confidence by {sure}; expected at most 1, at least 99.9 %, at "
            "most 1"
        )
