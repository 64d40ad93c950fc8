# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from tiny_model import write_tiny_bundle

from segmif_ros.bundle import Bundle
from segmif_ros.datasets.protocol import load_protocol
from segmif_ros.datasets.sample import Sample
from segmif_ros.engines import open_engine
from segmif_ros.evaluation.dataset_scores import (
    PAIR_COLUMNS,
    DatasetScores,
    Shown,
    WorstPairs,
    score_pairs,
)
from segmif_ros.evaluation.kept_pictures import PairImages
from segmif_ros.metrics.boxes import Box
from segmif_ros.perceiver import Perceiver

SIZE = (96, 128)
SAME = np.arange(256, dtype=np.uint8)
PROTOCOLS = (load_protocol("fmb14"), load_protocol("fmb15"))


@pytest.fixture(scope="module")
def perceiver(tmp_path_factory: pytest.TempPathFactory) -> Perceiver:
    """Of a network that says person (8) where thermal is bright and road (1) elsewhere."""
    bundle = Bundle.load(write_tiny_bundle(tmp_path_factory.mktemp("small"), SIZE))
    return Perceiver(open_engine("onnxruntime", bundle, threads=1))


def street(number: int) -> Sample:
    """A warm person on a cold road; by night the visible picture is noise."""
    rng = np.random.default_rng(number)
    rgb = rng.integers(0, 200, (*SIZE, 3)).astype(np.uint8)
    thermal = rng.integers(10, 60, SIZE).astype(np.uint8)
    labels = np.ones(SIZE, np.uint8)
    body = (slice(24, 48), slice(10 + 6 * number, 20 + 6 * number))
    thermal[body] = 220
    labels[body] = 8
    return Sample(rgb, thermal, labels, f"s/{number}", "night" if number % 2 else "day")


def counted(perceiver: Perceiver, samples: list[Sample], every: int = 1) -> DatasetScores:
    scores = DatasetScores(PROTOCOLS, every)
    score_pairs([reader(sample) for sample in samples], perceiver, scores, SAME)
    return scores


def reader(sample: Sample) -> Callable[[], Sample]:
    return lambda: sample


def test_a_lost_camera_has_a_row_of_its_own(perceiver: Perceiver) -> None:
    """This network uses thermal only: without it every person is road."""
    found = counted(perceiver, [street(0), street(1)]).summary()
    rows = found["segmentation"]["rows"]
    assert list(rows) == ["visible", "thermal", "fused"]
    assert rows["fused"]["all"]["protocols"] == {"fmb14": 1.0, "fmb15": 1.0}
    assert rows["thermal"]["all"] == rows["fused"]["all"]
    assert rows["visible"]["all"]["per_class"]["person"] == 0.0
    assert rows["visible"]["night"]["frames"] == 1
    assert found["boxes"] is None
    assert list(found["fusion"]) == ["all", "day", "night", "every"]
    assert list(found["fusion"]["all"]) == ["visible", "thermal", "fused"]


def objects_found(share: float, precision: float | None) -> dict[str, float | None]:
    names = ("average_precision", "object_recall", "object_precision")
    return dict(zip(names, (share, share, precision), strict=True))


def test_boxes_take_the_place_of_masks_made_by_machines(perceiver: Perceiver) -> None:
    base = street(0)
    person = Box(8, 10, 24, 20, 48)
    boxes = (person, Box(9, 0, 0, 9, 9))
    boxed = Sample(base.rgb, base.thermal, base.labels, "a", "day", boxes, machine_made=True)
    found = counted(perceiver, [boxed]).summary()
    assert found["segmentation"] is None
    by_row = {row: splits["day"] for row, splits in found["boxes"].items()}
    assert list(by_row) == ["visible", "thermal", "fused"]
    assert by_row["fused"] == {
        "person": {"boxes": 1, "box_recall": 1.0, "box_precision": 1.0, **objects_found(1.0, 1.0)},
        "car": {"boxes": 1, "box_recall": 0.0, "box_precision": None, **objects_found(0.0, None)},
    }
    assert by_row["visible"]["person"]["box_recall"] == 0.0
    assert dict(zip(PAIR_COLUMNS, found["pairs"]["rows"][0], strict=True))["hit"] == 0.5


def test_without_truth_fusion_is_scored_alone(perceiver: Perceiver) -> None:
    base = street(0)
    found = counted(perceiver, [Sample(base.rgb, base.thermal, None, "a")]).summary()
    assert found["segmentation"] is found["boxes"] is None
    assert found["fusion"]["all"]["fused"]["frames"] == 1


def test_jobs_combine_to_the_very_same_report(perceiver: Perceiver) -> None:
    samples = [street(number) for number in range(4)]
    whole = json.dumps(counted(perceiver, samples).summary())
    parts = [counted(perceiver, part) for part in (samples[1::2], samples[::2])]
    total = DatasetScores(PROTOCOLS)
    for part in parts:
        total.merge(DatasetScores.from_state(json.loads(json.dumps(part.state())), PROTOCOLS))
    assert json.dumps(total.summary()) == whole


def test_pairs_that_are_not_measured_have_gaps_in_the_table(perceiver: Perceiver) -> None:
    found = counted(perceiver, [street(number) for number in range(3)], every=2).summary()
    column = PAIR_COLUMNS.index("SSIM")
    assert [row[column] is None for row in found["pairs"]["rows"]] == [False, True, False]
    assert found["fusion"]["every"] == 2
    assert found["segmentation"]["rows"]["fused"]["all"]["frames"] == 3


def test_other_methods_are_scored_beside(perceiver: Perceiver) -> None:
    sample, scores = street(0), DatasetScores(PROTOCOLS)
    score_pairs(
        [reader(sample)], perceiver, scores, SAME, others={"copy": lambda _name: sample.rgb}
    )
    rows = scores.fusion.summary()
    assert list(rows) == ["visible", "thermal", "fused", "copy"]
    assert rows["copy"] == rows["fused"]  # this network's fused image is the visible one


def test_the_worst_pairs_are_kept_and_no_more(perceiver: Perceiver) -> None:
    samples = [street(number) for number in range(4)]
    for number, wrong in ((1, 40), (2, 60), (3, 20)):
        labels = samples[number].labels
        assert labels is not None
        labels[SIZE[0] - wrong // 2 :] = 8
    worst = WorstPairs(2)
    scores = DatasetScores(PROTOCOLS)
    score_pairs([reader(sample) for sample in samples], perceiver, scores, SAME, worst=worst)
    kept = worst.sorted()
    assert [shown.name for shown in kept] == ["s/2", "s/1"]
    assert kept[0].score < kept[1].score < 1.0
    assert {shown.why for shown in kept} == {"mIoU"}
    assert np.array_equal(kept[0].images.visible, samples[2].rgb)
    assert kept[0].images.mask.max() == 8


def test_what_was_not_scored_is_not_the_worst() -> None:
    worst = WorstPairs(3)
    assert not worst.wants(math.inf)
    assert worst.wants(0.0)
    assert not WorstPairs(0).wants(0.0)
    blank = np.zeros((1, 1), np.uint8)
    for name, score in (("b", 0.5), ("a", 0.5), ("c", 0.1), ("d", 0.9)):
        worst.add(Shown(name, score, "mIoU", PairImages(*[blank] * 5), None, ()))
    assert [shown.name for shown in worst.sorted()] == ["c", "a", "b"]
