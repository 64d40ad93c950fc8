# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest

from segmif_ros.bundle import LabelClass
from segmif_ros.datasets.protocol import load_protocol
from segmif_ros.metrics.segmentation import Confusion, SegmentationScores
from segmif_ros.metrics.tally import ScoreError


def test_iou_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (30, 40)).astype(np.uint8)
    truth[:3] = 255
    guess = rng.integers(0, 4, (30, 40)).astype(np.uint8)
    confusion = Confusion(4)
    confusion.add(truth, guess)
    known = truth != 255
    for label in range(4):
        a, b = (truth == label) & known, (guess == label) & known
        assert confusion.iou()[label] == pytest.approx((a & b).sum() / (a | b).sum())
    assert confusion.accuracy() == pytest.approx((truth == guess)[known].mean())
    assert confusion.mean_iou() == pytest.approx(confusion.iou()[1:].mean())


def test_most_classes_that_a_mask_can_have() -> None:
    rng = np.random.default_rng(4)
    truth, guess = (rng.integers(0, 256, (64, 64)).astype(np.uint8) for _ in range(2))
    confusion = Confusion(255)
    confusion.add(truth, guess)
    assert confusion.matrix.sum() == (truth != 255).sum()
    for row, column in zip(truth[truth != 255][:50], guess[truth != 255][:50], strict=True):
        pairs = (truth == row) & (guess == (0 if column == 255 else column))
        also = (truth == row) & (guess == 255) if column in (0, 255) else False
        assert confusion.matrix[row, 0 if column == 255 else column] == (pairs | also).sum()


def test_images_add_up() -> None:
    rng = np.random.default_rng(1)
    pairs = [[rng.integers(0, 3, (8, 8)).astype(np.uint8) for _ in range(2)] for _ in range(3)]
    apart, together = Confusion(3), Confusion(3)
    for truth, guess in pairs:
        apart.add(truth, guess)
    together.add(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
    assert np.array_equal(apart.matrix, together.matrix)


def test_absent_classes_do_not_count() -> None:
    confusion = Confusion(5)
    confusion.add(np.full((4, 4), 2, np.uint8), np.full((4, 4), 2, np.uint8))
    assert confusion.mean_iou() == 1.0
    assert math.isnan(confusion.iou()[3])
    assert math.isnan(Confusion(5).mean_iou())


def test_unlabelled_predictions_are_wrong_not_missing() -> None:
    confusion = Confusion(3)
    confusion.add(np.full((2, 2), 1, np.uint8), np.array([[1, 1], [255, 255]], np.uint8))
    assert confusion.iou()[1] == pytest.approx(0.5)


CLASSES = tuple(LabelClass(i, f"class {i}", (i, i, i)) for i in range(5))


@dataclass(frozen=True)
class Rule:
    name: str
    counted: tuple[int, ...]
    ignored: tuple[int, ...]


FOUR = Rule("four", (1, 2, 3, 4), (0, 255))
FIVE = Rule("five", (0, 1, 2, 3, 4), (255,))
NEGATIVE = Rule("negative", (1, 2, 3, 4), (255,))


def pictures(seed: int, size: tuple[int, int] = (24, 32)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, size).astype(np.uint8)
    truth[:2] = 255
    return truth, np.where(rng.random(size) < 0.6, truth, rng.integers(0, 5, size)).astype(np.uint8)


def brute_iou(truth: np.ndarray, guess: np.ndarray, label: int, ignored: tuple[int, ...]) -> float:
    kept = ~np.isin(truth, ignored)
    a, b = (truth == label) & kept, (guess == label) & kept
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("rule", [FOUR, FIVE, NEGATIVE])
def test_a_protocol_says_what_is_left_out_and_what_is_averaged(rule: Rule) -> None:
    truth, guess = pictures(0)
    guess = np.where(guess == 255, 0, guess).astype(np.uint8)
    scores = SegmentationScores(CLASSES, rule)
    of_image = scores.add(truth, guess)
    figures = scores.summary()["fused"]["all"]
    expected = [brute_iou(truth, guess, label, rule.ignored) for label in rule.counted]
    assert figures["protocols"][rule.name] == pytest.approx(np.mean(expected))
    assert of_image == figures["protocols"][rule.name]
    kept = ~np.isin(truth, rule.ignored)
    assert figures["pixels"] == kept.sum()
    assert figures["pixel_accuracy"] == pytest.approx((truth == guess)[kept].mean())
    recalls = [(guess[truth == label] == label).mean() for label in rule.counted]
    assert figures["mean_accuracy"] == pytest.approx(np.mean(recalls))
    assert figures["protocol_classes"] == {rule.name: len(rule.counted)}


def test_protocols_differ_on_the_same_pictures() -> None:
    truth, guess = pictures(1)
    scores = SegmentationScores(CLASSES, FOUR, FIVE, NEGATIVE)
    scores.add(truth, guess)
    means = scores.summary()["fused"]["all"]["protocols"]
    assert means["negative"] < means["four"]
    assert len(set(means.values())) == 3


def test_a_class_that_never_occurs_is_not_in_the_mean() -> None:
    """FMB's test split has no bicycle: predicted ones cost those they cover, not a zero more."""
    truth = np.ones((16, 16), np.uint8)
    guess = truth.copy()
    guess[:4] = 4
    scores = SegmentationScores(CLASSES, FOUR)
    scores.add(truth, guess)
    figures = scores.summary()["fused"]["all"]
    assert figures["protocols"]["four"] == pytest.approx(0.75)
    assert figures["protocol_classes"]["four"] == 1
    assert figures["per_class"]["class 4"] == 0.0
    assert figures["per_class"]["class 2"] is None


def test_a_class_that_is_left_out_has_no_score_of_its_own() -> None:
    """Its true pixels are not looked at, so a predicted one would always read as 0."""
    rule = load_protocol("fmb14")
    scores = SegmentationScores(rule.classes, rule)
    truth = np.ones((16, 16), np.uint8)
    truth[:8] = 0
    scores.add(truth, np.zeros_like(truth))
    figures = scores.summary()["fused"]["all"]
    assert figures["per_class"]["road"] == 0.0
    for name in ("per_class", "class_boundary_iou", "class_accuracy"):
        assert figures[name]["unlabelled"] is None


def test_a_class_without_an_outline_does_not_spoil_the_mean_of_the_others() -> None:
    """A person cut out of an unlabelled picture ends where the labels end: there is no outline."""
    rule = load_protocol("fmb14")
    scores = SegmentationScores(rule.classes, rule)
    cut_out = np.full((96, 128), 255, np.uint8)
    cut_out[30:60, 30:90] = 8
    scores.add(cut_out, np.full_like(cut_out, 8))
    halves = np.ones((96, 128), np.uint8)
    halves[:, 64:] = 2
    scores.add(halves, halves)
    figures = scores.summary()["fused"]["all"]
    assert figures["class_boundary_iou"]["person"] is None
    assert figures["boundary_iou"] == 1.0


def test_boundary_is_one_for_a_copy_and_worse_than_area_for_a_ragged_outline() -> None:
    truth = np.ones((96, 128), np.uint8)
    truth[:, 64:] = 2
    scores = SegmentationScores(CLASSES, FOUR)
    scores.add(truth, truth)
    assert scores.summary()["fused"]["all"]["boundary_iou"] == 1.0
    moved = np.roll(truth, 2, axis=1)
    moved[:, :2] = 1
    scores = SegmentationScores(CLASSES, FOUR)
    scores.add(truth, moved)
    figures = scores.summary()["fused"]["all"]
    assert 0.5 < figures["boundary_iou"] < figures["protocols"]["four"] < 1.0


def test_rows_and_splits_are_kept_apart_and_summed() -> None:
    scores = SegmentationScores(CLASSES, FOUR)
    day, night = pictures(2), pictures(3)
    scores.add(*day, row="thermal", split="day")
    scores.add(*night, row="thermal", split="night")
    scores.add(*day, row="visible", split="day")
    scores.add(*night, row="visible")
    table = scores.summary()
    assert list(table) == ["visible", "thermal"]
    assert list(table["thermal"]) == ["all", "day", "night"]
    assert list(table["visible"]) == ["all", "day"]
    assert [table["visible"][split]["frames"] for split in ("all", "day")] == [2, 1]
    assert table["visible"]["all"] == table["thermal"]["all"]
    assert table["visible"]["day"] == table["thermal"]["day"] != table["thermal"]["night"]
    assert scores.confusion("thermal", "day").matrix.sum() == (day[0] < 5).sum()


def test_jobs_combine_to_the_very_same_figures_in_any_order() -> None:
    everything = SegmentationScores(CLASSES, FOUR, FIVE)
    jobs = [SegmentationScores(CLASSES, FOUR, FIVE) for _ in range(3)]
    for seed in range(6):
        for target in (everything, jobs[seed % 3]):
            target.add(*pictures(seed), split="night" if seed < 2 else "day")
    stored = [json.loads(json.dumps(job.state())) for job in jobs]
    for order in ((0, 1, 2), (2, 0, 1)):
        total = SegmentationScores(CLASSES, FOUR, FIVE)
        for index in order:
            total.merge(SegmentationScores.from_state(stored[index], CLASSES, FOUR, FIVE))
        assert json.dumps(total.summary()) == json.dumps(everything.summary())


def test_scores_of_something_else_are_not_added() -> None:
    mine, other = SegmentationScores(CLASSES, FOUR), SegmentationScores(CLASSES, FIVE)
    with pytest.raises(ScoreError, match=r"'five'.*'four'"):
        mine.merge(other)
    with pytest.raises(ScoreError, match="count again"):
        SegmentationScores.from_state(other.state(), CLASSES, FOUR)


def test_labels_of_another_size_are_refused() -> None:
    with pytest.raises(ScoreError, match=r"\(4, 4\) and mask of shape \(4, 5\)"):
        SegmentationScores(CLASSES, FOUR).add(
            np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)
        )


def test_nothing_known_is_no_score() -> None:
    scores = SegmentationScores(CLASSES, FOUR)
    assert scores.summary() == {}
    assert scores.add(np.full((20, 20), 255, np.uint8), np.ones((20, 20), np.uint8)) is None
    figures = scores.summary()["fused"]["all"]
    assert figures["frames"] == 1
    assert figures["protocols"] == {"four": None}
    assert figures["boundary_iou"] is figures["pixel_accuracy"] is None
