# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny_training import CLASSES, RECIPE, blocks, source
from torch import Tensor, nn

from segmif_ros.datasets.sample import Sample
from segmif_ros.training.ranks import Ranks
from segmif_ros.training.validation import chosen, score

ALONE = Ranks(0, 1, torch.device("cpu"))


class Oracle(nn.Module):
    """Reads the class from the warmth that `blocks` gives it; one class may be confused."""

    def __init__(self, confused: bool = False) -> None:
        super().__init__()
        self.confused = confused
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, rgb: Tensor, thermal: Tensor) -> SimpleNamespace:
        self.sizes.append(tuple(thermal.shape[-2:]))
        assert not self.training
        label = torch.round(thermal[:, 0] * 255.0 / 25.0).long()
        if self.confused:
            label[..., : label.shape[-1] // 2] = 0
        logits = torch.nn.functional.one_hot(label, CLASSES).permute(0, 3, 1, 2).float()
        return SimpleNamespace(luma=rgb.mean(1, keepdim=True), rgb=rgb, logits=logits)


def test_a_perfect_network_scores_one_and_a_half_blind_one_half() -> None:
    network = Oracle().train()
    found, shown = score(network, source(3), RECIPE, CLASSES, ALONE)
    assert found.mean_iou == pytest.approx(1.0)
    assert (found.accuracy, found.pairs) == (1.0, 3)
    assert network.training
    assert {name: image.shape[:2] for name, image in shown.items()} == dict.fromkeys(
        ("visible", "thermal", "fused", "mask"), (64, 64)
    )
    half, _ = score(Oracle(confused=True), source(3), RECIPE, CLASSES, ALONE)
    assert half.accuracy == pytest.approx(0.5)
    assert half.value < found.value


def test_pairs_are_scored_at_their_own_size_in_multiples_of_32() -> None:
    network = Oracle()
    score(network, [lambda: blocks(0, (100, 140))], RECIPE, CLASSES, ALONE)
    assert network.sizes == [(96, 128)]


def test_overfitting_is_scored_on_the_pixels_that_were_shown() -> None:
    def checkered() -> Sample:
        pair = blocks(0)
        assert pair.labels is not None
        labels = pair.labels.copy()
        labels[1::2] = 14
        return Sample(pair.rgb, pair.thermal, labels, pair.name)

    plain = replace(RECIPE, augmentation=replace(RECIPE.augmentation, plain=True))
    found, shown = score(Oracle(), [checkered], plain, CLASSES, ALONE)
    assert found.mean_iou > 0.9
    assert shown["mask"].shape == shown["fused"].shape[:2]
    assert score(Oracle(), [checkered], RECIPE, CLASSES, ALONE)[0].accuracy == pytest.approx(0.5)


def test_without_labels_the_fusion_decides() -> None:
    bare = Sample(blocks(0).rgb, blocks(0).thermal, None, "bare")
    found, _ = score(Oracle(), [lambda: bare], RECIPE, CLASSES, ALONE)
    assert found.value == -found.fusion_loss < 0.0


def test_pairs_are_spread_evenly() -> None:
    pairs = source(10)
    assert chosen(pairs, 20) == pairs
    assert chosen(pairs, 4) == [pairs[0], pairs[3], pairs[6], pairs[9]]
