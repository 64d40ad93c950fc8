# SPDX-License-Identifier: Apache-2.0
"""What is counted adds up exactly, stays small, and keeps the right pairs as pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_model import fmb_classes

from segmif_ros.datasets.protocol import load_protocol
from segmif_ros.evaluation.kept_pictures import APART_NS, Gallery, PairImages, encoded
from segmif_ros.evaluation.scores import (
    MOST_ROWS,
    DownsampledTable,
    DriveScores,
    EvaluatedPair,
    Histogram,
)
from segmif_ros.evaluation.settings import DriveSettings

SIZE = (48, 64)
SECOND = 1_000_000_000


def pair(index: int, *, brightness: int = 120) -> EvaluatedPair:
    random = np.random.default_rng(index)
    rgb = random.integers(brightness - 10, brightness + 10, (*SIZE, 3), np.uint8)
    thermal = random.integers(0, 256, SIZE, np.uint8)
    mask = random.integers(0, 15, SIZE, np.uint8)
    images = PairImages(rgb, thermal, rgb, mask, thermal)
    truth = random.integers(0, 15, SIZE, np.uint8)
    return EvaluatedPair(
        stamp_ns=index * SECOND,
        t_s=float(index),
        difference_ns=index * 1_000_000,
        images=images,
        alone={"visible": (mask, mask), "thermal": (truth, truth)},
        truth=truth,
    )


def scores() -> DriveScores:
    settings = DriveSettings(model="m", labels="l", metrics_every=2)
    return DriveScores(settings, fmb_classes(), [load_protocol("fmb14"), load_protocol("fmb15")])


def restored(state: dict) -> DriveScores:
    settings = DriveSettings(model="m", labels="l", metrics_every=2)
    protocols = [load_protocol("fmb14"), load_protocol("fmb15")]
    return DriveScores.from_state(json.loads(json.dumps(state)), settings, fmb_classes(), protocols)


def test_bags_add_up_exactly_in_whatever_order():
    parts = [scores() for _ in range(3)]
    for number, part in enumerate(parts):
        for index in range(4):
            part.add(pair(10 * number + index))
    sums = []
    for order in ((0, 1, 2), (2, 0, 1)):
        total = scores()
        for number in order:
            total.merge(restored(parts[number].state()))
        sums.append(
            (
                total.segmentation.summary(),
                total.fusion.summary(),
                {row: flicker.value for row, flicker in total.flicker.items()},
                total.seen.tolist(),
                total.difference.summary(),
                dict(total.same.state()),
                total.evaluated,
            )
        )
    assert sums[0] == sums[1]
    assert sums[0][-1] == 12
    assert sums[0][0]["thermal"]["all"]["protocols"]["fmb15"] == 1.0  # there the truth was given
    assert sums[0][-2]["visible"][0] == sums[0][-2]["visible"][1]


def test_dark_pictures_are_night():
    counted = scores()
    counted.add(pair(1, brightness=30))
    counted.add(pair(2, brightness=120))
    counted.add(pair(3, brightness=200))
    frames = {k: v["frames"] for k, v in counted.segmentation.summary()["fused"].items()}
    assert frames == {"all": 3, "day": 2, "night": 1}


def test_a_spread_gives_percentiles_of_what_was_added():
    spread, values = Histogram(), np.random.default_rng(1).gamma(2.0, 10.0, 5000)
    for value in values:
        spread.add(float(value))
    found = spread.summary()
    for part in (50, 95, 99):
        assert found[f"p{part}"] == pytest.approx(np.percentile(values, part), abs=0.2)
    assert found["max"] == pytest.approx(values.max(), abs=0.06)
    assert found["count"] == 5000
    assert Histogram().summary()["p50"] is None


def test_a_table_stays_small_and_bags_share_one_stride():
    tables = [DownsampledTable(), DownsampledTable()]
    for table, count in zip(tables, (10, 9 * MOST_ROWS), strict=True):
        for index in range(count):
            table.add([float(index), None])
    stride, rows = DownsampledTable.joined(
        [DownsampledTable(**table.state()) for table in tables], [3, 5]
    )
    assert len(rows) <= MOST_ROWS
    assert stride == 16
    assert [row for row in rows if row[1] == 3] == [[0.0, 3]]
    assert [row[0] for row in rows if row[1] == 5] == list(range(0, 9 * MOST_ROWS, 16))


def test_more_bags_than_rows_are_thinned_as_well():
    tables = [DownsampledTable(rows=[[0.0, None], [1.0, None]]) for _ in range(MOST_ROWS + 500)]
    _, rows = DownsampledTable.joined(tables, range(len(tables)))
    assert len(rows) == MOST_ROWS
    bags = [row[1] for row in rows]
    assert bags == sorted(set(bags))
    assert max(bags) > MOST_ROWS + 490


def images(value: int, size: tuple[int, int] = (6, 8)) -> PairImages:
    grey = np.full(size, value, np.uint8)
    rgb = np.full((*size, 3), value, np.uint8)
    return PairImages(rgb, grey, rgb, grey, grey)


def test_the_worst_and_the_best_are_kept_and_neighbours_are_not():
    gallery = Gallery(worst=3, best=2, samples=0)
    values = np.random.default_rng(7).permutation(200)
    for index, value in enumerate(values):
        for near in range(3):  # three frames of the same moment, the second one worst and best
            score = float(value) + (0.5 if near == 1 else 0.0)
            stamp = index * 2 * APART_NS + near * APART_NS // 4
            gallery.add(stamp, score, "why", images(int(value)))
    kept = gallery.pictures()
    assert [(kind, picture.score) for kind, picture in kept] == [
        ("worst", 0.0),
        ("worst", 1.0),
        ("worst", 2.0),
        ("best", 199.5),
        ("best", 198.5),
    ]


def test_samples_are_spread_over_the_drive():
    gallery = Gallery(worst=0, best=0, samples=4)
    for index in range(400):
        gallery.add(index * SECOND, 0.5, "why", images(index % 256))
    stamps = [picture.stamp_ns / SECOND for _, picture in gallery.pictures()]
    assert len(stamps) == 4
    assert max(np.diff([0, *stamps, 400])) < 200


def test_pictures_are_not_wider_than_a_report_needs_and_ids_stay_whole():
    gallery = Gallery(worst=1, best=0, samples=0)
    gallery.add(1, 0.5, "why", images(7, (1000, 1600)))
    ((_, kept),) = gallery.pictures()
    assert kept.images.mask.shape == (500, 800)
    assert set(np.unique(kept.images.mask)) == {7}
    suffixes = {name: suffix for name, (suffix, _) in encoded(kept.images).items()}
    assert suffixes["mask"] == suffixes["confidence"] == ".png"
    assert suffixes["fused"] == ".jpg"
