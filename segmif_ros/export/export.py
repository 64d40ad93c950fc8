# SPDX-License-Identifier: Apache-2.0
"""A trained network becomes a bundle: bytes in, bytes out, everything in between inside the ONNX.

Normalisation, guidance, colour, resizing of logits, argmax and confidence all live in the graph, so
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
from segmif_ros.export.rewrite import rewrite
from segmif_ros.export.shapes import fold_shapes
from segmif_ros.export.weights import halve_weights, inline_weights
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
"""float32 counts by ones up to here."""
_FURTHEST = 256.0
"""How far behind the winner a score is still told apart."""
GUIDANCE_INPUT = "guidance"
"""Name of the third input, HxW uint8, of a bundle whose guidance is supplied."""


class ExportError(RuntimeError):
    """The exported graph does not reproduce the network."""


class BytesInBytesOut(nn.Module):
    """Wraps a network so that it takes and gives uint8 images of one fixed size.

    A cascade whose guidance is "supplied" takes that image as a third input.
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
            F.conv2d(
                rgb.reshape(1, 1, height, 3 * width), self.fold_visible, stride=(BLOCK, 3 * BLOCK)
            ),
            F.conv2d(thermal.reshape(1, 1, height, width), self.fold_thermal, stride=BLOCK),
        )
        change = F.pixel_shuffle(output.change * 255.0, BLOCK)
        mask, confidence = self._decide_at_half_size(output.logits, height // 2, width // 2)
        rows, columns = self.size
        return (
            _to_bytes((rgb + change.reshape(height, width, 1))[:rows, :columns]),
            _to_bytes(mask[0, 0, :rows, :columns]),
            _to_bytes(confidence[0, 0, :rows, :columns] * 255.0),
        )

    def _register_folding(self, network: CompactSegMiF) -> None:
        """Merge the network's folding with that of bytes.

        Folding 4x4 blocks into channels is a strided convolution with a one-hot kernel over the
        image seen as one channel of width 3W; runtimes do that far faster than a transposition.
        """
        eye = torch.eye(FOLDED) / 255.0
        colour = torch.zeros(3, FOLDED, BLOCK, BLOCK, 3)
        for channel in range(3):
            colour[channel, ..., channel] = eye.reshape(FOLDED, BLOCK, BLOCK)
        visible = network.folding.visible_matrix @ colour.reshape(3 * FOLDED, -1)
        thermal = network.folding.thermal_matrix @ eye
        self.register_buffer("fold_visible", visible.reshape(-1, 1, BLOCK, 3 * BLOCK))
        self.register_buffer("fold_thermal", thermal.reshape(-1, 1, BLOCK, BLOCK))

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
    def _decide_at_half_size(logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The same for the compact network, decided at (height, width) and doubled.

        Score and class share one float32, so that a single maximum finds both: the class takes the
        lowest bits of the 24 that are exact, the score the others. Scores count from the winner of
        their block down to -256, beyond which no class can win. The confidence is smooth and
        therefore computed at the logits' own size. A runtime must not compute this in 16 bits.
        """
        behind = logits - logits.amax(dim=1, keepdim=True)
        confidence = 1.0 / torch.exp(behind).sum(dim=1, keepdim=True)
        scores = upsample_logits(behind.clamp(min=-_FURTHEST), (height, width))
        ids = float(1 << (int(scores.shape[1]) - 1).bit_length())
        steps = _EXACT / (_FURTHEST * ids)
        packed = (torch.floor(scores * steps) * ids + _rank(scores)).amax(dim=1, keepdim=True)
        rank = packed - torch.floor(packed * (1.0 / ids)) * ids
        mask = scores.shape[1] - 1 - rank
        return _double(mask), _double(upsample_logits(confidence, (height, width)))


def _rank(scores: Tensor) -> Tensor:
    """1xKx1x1: K - 1 for the first class down to 0 for the last."""
    last = scores.shape[1] - 1
    return torch.arange(last, -1, -1, dtype=scores.dtype).view(1, -1, 1, 1)


def _double(image: Tensor) -> Tensor:
    """1x1xHxW -> 1x1x2Hx2W by repetition; a nearest Resize would pull the decision into bf16."""
    height, width = image.shape[-2:]
    # Multiplied by ones: runtimes are slower at concatenating channels and at Expand.
    double = image.reshape(1, 1, height, 1, width, 1) * image.new_ones(1, 1, 1, 2, 1, 2)
    return double.reshape(1, 1, 2 * height, 2 * width)


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
    """Run `module` once on named tensors and return what it did as an ONNX file, opset 17."""
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
    """Refuse a graph that gives other pictures than the network.

    Where the network truncates to 8 bits a last digit can move a value by a whole level, and a
    stretch makes more of it, so one pixel in a thousand may then be off.
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
