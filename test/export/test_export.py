# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from tiny_model import fmb_classes

from segmif_ros.bundle import Bundle
from segmif_ros.export.export import (
    BytesInBytesOut,
    Enlarge,
    ExportError,
    export_onnx,
    write_bundle,
)
from segmif_ros.network.variants import build

Tensor = torch.Tensor


def shaken(variant: str) -> torch.nn.Module:
    """A network whose every part has a say, unlike one fresh from initialisation."""
    torch.manual_seed(0)
    network = build(variant, 15)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    return network.eval()


def images(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return (
        rng.integers(0, 256, (*size, 3), np.uint8),
        rng.integers(0, 256, size, np.uint8),
    )


def run(data: bytes, rgb: np.ndarray, thermal: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    return list(session.run(["fused", "mask", "confidence"], {"rgb": rgb, "thermal": thermal}))


@pytest.mark.parametrize(
    ("variant", "size", "factor"), [("nano", (128, 192), 2), ("b1", (75, 100), 1)]
)
def test_the_graph_gives_the_networks_own_answer(
    variant: str, size: tuple[int, int], factor: int
) -> None:
    network = shaken(variant)
    rgb, thermal = images(size)
    fused, mask, confidence = run(export_onnx(network, size), rgb, thermal)
    with torch.no_grad():
        output = network(
            torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255.0,
            torch.from_numpy(thermal)[None, None] / 255.0,
        )
        scores = torch.nn.functional.interpolate(
            output.logits, (size[0] // factor, size[1] // factor), mode="bilinear"
        )
        labels = scores.argmax(dim=1)
        # nano gives one confidence for each of its logits, 4x4 pixels, the cascade one a pixel.
        decided = output.logits if factor > 1 else scores
        sure = decided.softmax(dim=1).amax(dim=1)
    expected = (output.rgb[0].permute(1, 2, 0) * 255.0).round().numpy()
    assert np.abs(fused - expected).max() <= 1
    labels = labels[0].numpy().repeat(factor, 0).repeat(factor, 1)
    assert (mask == labels).mean() > 0.999
    side = size[0] // sure.shape[-2]
    sure = (sure[0] * 255.0).round().numpy().repeat(side, 0).repeat(side, 1)
    assert np.abs(confidence - sure).max() <= 1


@pytest.mark.parametrize("size", [(100, 150), (64, 96)])
def test_sizes_off_the_grid_are_padded_and_cropped(size: tuple[int, int]) -> None:
    fused, mask, confidence = run(export_onnx(shaken("nano"), size), *images(size))
    assert fused.shape == (*size, 3)
    assert mask.shape == confidence.shape == size


def decide(logits: Tensor) -> tuple[Tensor, Tensor]:
    return BytesInBytesOut._decide(logits, 64, 64)


@pytest.mark.parametrize("decide", [decide, BytesInBytesOut._decide_at_half_size])
def test_equal_scores_give_the_first_class(decide: Callable[..., tuple[Tensor, Tensor]]) -> None:
    mask, confidence = decide(torch.zeros(1, 15, 16, 16))
    assert float(mask.max()) == 0.0
    torch.testing.assert_close(confidence, torch.full_like(confidence, 1 / 15))


@pytest.mark.parametrize("scale", [12.0, 3_000.0])
@pytest.mark.parametrize("classes", [2, 9, 15, 16, 17])
def test_packed_scores_find_the_winner_of_any_size(classes: int, scale: float) -> None:
    torch.manual_seed(0)
    for logits in (torch.randn(48, 1, classes, 1, 1) - 3.0) * scale:
        quarters, _ = BytesInBytesOut._decide_at_half_size(logits.expand(-1, -1, 6, 8))
        assert torch.equal(quarters.long(), logits.argmax(dim=1).expand(4, 1, 6, 8))


def test_the_mask_is_that_of_the_scores_enlarged_by_two() -> None:
    torch.manual_seed(0)
    logits = (torch.randn(1, 15, 6, 8) - 3.0) * 12.0
    quarters, _ = BytesInBytesOut._decide_at_half_size(logits)
    twice = torch.nn.functional.interpolate(logits, scale_factor=2.0, mode="bilinear")
    expected = twice.argmax(dim=1)[0].repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(Enlarge()(quarters).long(), expected)


def test_a_bundle_is_written_whole_and_verifies(tmp_path: Path) -> None:
    bundle = write_bundle(
        shaken("nano"),
        tmp_path / "model",
        name="test",
        variant="nano",
        size=(64, 128),
        classes=fmb_classes(),
        switches={"visible_input": "luma"},
        provenance={"seed": 0},
        licence="Apache-2.0",
    )
    again = Bundle.load(bundle.path)
    assert again.manifest == bundle.manifest
    assert again.manifest.size == (64, 128)
    files = sorted(p.name for p in bundle.path.iterdir())
    assert files == ["manifest.json", "model.onnx", "reference"]


def test_a_graph_that_differs_from_its_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build("nano", 15).eval()
    forward = BytesInBytesOut.forward

    def drifting(self: BytesInBytesOut, rgb: torch.Tensor, thermal: torch.Tensor):
        fused, mask, confidence = forward(self, rgb, thermal)
        if not torch.jit.is_tracing():
            fused = 255 - fused
        return fused, mask, confidence

    monkeypatch.setattr(BytesInBytesOut, "forward", drifting)
    with pytest.raises(ExportError, match="differs from the network: fused by"):
        export_onnx(network, (64, 64))
