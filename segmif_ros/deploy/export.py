# SPDX-License-Identifier: Apache-2.0
"""A trained network becomes a bundle: bytes in, bytes out, everything in between inside the ONNX.

Normalisation, guidance, colour, resizing of logits, argmax and confidence all live in the graph, so
that only bytes cross to the device and back, and every runtime gives the same picture.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from segmif_ros.bundle import MANIFEST, Bundle, LabelClass, Manifest
from segmif_ros.network.compact import BLOCK, FOLDED, CompactSegMiF
from segmif_ros.network.segmif import upsample_logits

OPSET = 17
MULTIPLE = 32
"""The encoder's total stride; other sizes are padded inside the graph and cropped again."""


class ExportError(RuntimeError):
    """The exported graph does not reproduce the network."""


class BytesInBytesOut(nn.Module):
    """Wraps a network so that it takes and gives uint8 images of one fixed size."""

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.size = size
        self.stride: int = network.mask_stride
        eye = torch.eye(FOLDED) / 255.0
        self.register_buffer("fold_thermal", eye.reshape(FOLDED, 1, BLOCK, BLOCK))
        colour = torch.zeros(3, FOLDED, 1, BLOCK, BLOCK, 3)
        for channel in range(3):
            colour[channel, ..., channel] = eye.reshape(FOLDED, 1, BLOCK, BLOCK)
        self.register_buffer("fold_rgb", colour.reshape(3 * FOLDED, 1, BLOCK, 3 * BLOCK))

    def forward(self, rgb: Tensor, thermal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """HxWx3 and HxW uint8 -> fused HxWx3, mask HxW, confidence HxW, all uint8."""
        height, width = self.size
        bottom, right = -height % MULTIPLE, -width % MULTIPLE
        # The cast comes first: TensorRT allows uint8 only on inputs and outputs.
        if isinstance(self.network, CompactSegMiF):
            return self._forward_blocks(rgb.float(), thermal.float(), bottom, right)
        colour = (rgb.float() * (1.0 / 255.0)).permute(2, 0, 1).unsqueeze(0)
        heat = (thermal.float() * (1.0 / 255.0)).unsqueeze(0).unsqueeze(0)
        if bottom or right:
            colour = F.pad(colour, (0, right, 0, bottom), mode="replicate")
            heat = F.pad(heat, (0, right, 0, bottom), mode="replicate")
        output = self.network(colour, heat)
        fused = output.rgb[:, :, :height, :width]
        mask, confidence = self._decide(output.logits, height + bottom, width + right)
        return (
            _to_bytes(fused[0].permute(1, 2, 0) * 255.0),
            _to_bytes(mask[0, 0, :height, :width]),
            _to_bytes(confidence[0, 0, :height, :width] * 255.0),
        )

    def _forward_blocks(
        self, rgb: Tensor, thermal: Tensor, bottom: int, right: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The compact network straight from interleaved bytes.

        Folding 4x4 blocks into channels is a strided convolution with a one-hot kernel over the
        image seen as one channel of width 3W; runtimes do that far faster than a transposition.
        """
        rgb, thermal = (_extend(image, bottom, right) for image in (rgb, thermal))
        height, width = self.size[0] + bottom, self.size[1] + right
        rgb_blocks = F.conv2d(
            rgb.reshape(1, 1, height, 3 * width), self.fold_rgb, stride=(BLOCK, 3 * BLOCK)
        )
        heat_blocks = F.conv2d(
            thermal.reshape(1, 1, height, width), self.fold_thermal, stride=BLOCK
        )
        output = self.network.forward_blocks(rgb_blocks, heat_blocks)
        change = F.pixel_shuffle(output.change * 255.0, BLOCK)
        mask, confidence = self._decide(output.logits, height, width)
        rows, columns = self.size
        return (
            _to_bytes((rgb + change.reshape(height, width, 1))[:rows, :columns]),
            _to_bytes(mask[0, 0, :rows, :columns]),
            _to_bytes(confidence[0, 0, :rows, :columns] * 255.0),
        )

    def _decide(self, logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Logits -> float class ids and winning probability, both 1x1xHxW."""
        scores = upsample_logits(logits, (height // self.stride, width // self.stride))
        best = scores.amax(dim=1, keepdim=True)
        confidence = 1.0 / torch.exp(scores - best).sum(dim=1, keepdim=True)
        # The first maximum, as argmax gives it; runtimes turn ArgMax into a slow top-k.
        last = scores.shape[1] - 1
        rank = torch.arange(last, -1, -1, dtype=scores.dtype).view(1, -1, 1, 1)
        mask = last - ((scores >= best).to(scores.dtype) * rank).amax(dim=1, keepdim=True)
        if self.stride > 1:
            mask = F.interpolate(mask, size=(height, width), mode="nearest")
            confidence = F.interpolate(confidence, size=(height, width), mode="nearest")
        return mask, confidence


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


def export_onnx(network: nn.Module, size: tuple[int, int]) -> bytes:
    """Trace `network` at (height, width) into a self-contained ONNX file, opset 17.

    Raises:
        ExportError: ONNX Runtime and PyTorch disagree on a test image.
    """
    wrapped = BytesInBytesOut(network, size).eval()
    rng = np.random.default_rng(0)
    rgb = torch.from_numpy(_smooth(rng, size, 3))
    thermal = torch.from_numpy(_smooth(rng, size, 1)[..., 0].copy())
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns about every fixed shape, as intended
        torch.onnx.export(
            wrapped,
            (rgb, thermal),
            buffer,
            input_names=["rgb", "thermal"],
            output_names=["fused", "mask", "confidence"],
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
    data = buffer.getvalue()
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    with torch.no_grad():
        expected = [t.numpy() for t in wrapped(rgb, thermal)]
    _compare(data, rgb.numpy(), thermal.numpy(), expected)
    return data


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
) -> Bundle:
    """Export `network` and write ONNX and manifest into `folder`; returns the verified bundle.

    The folder appears whole or not at all: files are written beside it and moved in.

    Raises:
        ExportError: see `export_onnx`.
    """
    data = export_onnx(network, size)
    manifest = Manifest(
        name=name,
        model="model.onnx",
        sha256=hashlib.sha256(data).hexdigest(),
        size=size,
        classes=classes,
        variant=variant,
        switches=switches,
        provenance=provenance,
        licence=licence,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for file, content in (
            (manifest.model, data),
            (MANIFEST, replace(manifest).to_json().encode()),
        ):
            part = Path(scratch) / file
            part.write_bytes(content)
            part.replace(folder / file)
    return Bundle.load(folder)


def _smooth(rng: np.random.Generator, size: tuple[int, int], channels: int) -> np.ndarray:
    """Random uint8 image with structure at 32 pixels, so that resizing is exercised."""
    height, width = size
    coarse = rng.random((1, channels, height // 32 + 2, width // 32 + 2), np.float32)
    fine = F.interpolate(torch.from_numpy(coarse), size=size, mode="bicubic")
    image = (fine[0].permute(1, 2, 0).clamp(0, 1) * 255.0).to(torch.uint8)
    return np.ascontiguousarray(image.numpy())


def _compare(data: bytes, rgb: np.ndarray, thermal: np.ndarray, expected: list[np.ndarray]) -> None:
    import onnxruntime as ort

    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    fused, mask, confidence = session.run(
        ["fused", "mask", "confidence"], {"rgb": rgb, "thermal": thermal}
    )
    off = int(np.abs(fused.astype(int) - expected[0].astype(int)).max())
    same = float((mask == expected[1]).mean())
    sure = int(np.abs(confidence.astype(int) - expected[2].astype(int)).max())
    if off > 1 or same < 0.999 or (same == 1.0 and sure > 1):
        raise ExportError(
            f"the exported graph differs from the network: fused by {off} grey levels, mask equal "
            f"on {same:.2%}, confidence by {sure}; expected at most 1, at least 99.9 %, at most 1"
        )
