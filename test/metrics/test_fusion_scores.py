# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from segmif_ros.metrics.fusion import fusion_scores
from segmif_ros.metrics.fusion_scores import FusionScores
from segmif_ros.metrics.tally import ScoreError


def scored(scores: FusionScores, seed: int, split: str | None = None) -> None:
    rng = np.random.default_rng(seed)
    thermal, visible, other = (
        cv2.resize(rng.integers(0, 256, (12, 16)).astype(np.uint8), (64, 48)) for _ in range(3)
    )
    scores.add(thermal, visible, {"fused": cv2.max(thermal, visible), "other": other}, split)


def test_inputs_have_rows_of_their_own() -> None:
    rng = np.random.default_rng(9)
    thermal, visible = rng.integers(0, 256, (2, 48, 64)).astype(np.uint8)
    scores = FusionScores()
    rows = scores.add(thermal, cv2.cvtColor(visible, cv2.COLOR_GRAY2RGB), {"fused": thermal})
    assert rows is not None
    assert list(rows) == ["visible", "thermal", "fused"]
    assert rows["fused"] == fusion_scores(thermal, visible, thermal)
    assert rows["thermal"] == pytest.approx(rows["fused"], rel=1e-6)
    assert rows["visible"] == pytest.approx(fusion_scores(thermal, visible, visible), rel=1e-6)
    assert scores.summary()["fused"]["all"] == pytest.approx({**rows["fused"], "frames": 1})


def test_jobs_combine_to_the_very_same_means_in_any_order() -> None:
    everything, jobs = FusionScores(), [FusionScores() for _ in range(3)]
    for seed in range(6):
        for target in (everything, jobs[seed % 3]):
            scored(target, seed, "night" if seed < 2 else None)
    for order in ((0, 1, 2), (2, 0, 1)):
        total = FusionScores()
        for index in order:
            total.merge(FusionScores.from_state(json.loads(json.dumps(jobs[index].state()))))
        assert json.dumps(total.summary()) == json.dumps(everything.summary())
    table = everything.summary()
    assert list(table) == ["visible", "thermal", "fused", "other"]
    assert {split: row["frames"] for split, row in table["other"].items()} == {"all": 6, "night": 2}


def test_every_third_picture_is_scored() -> None:
    scores = FusionScores(every=3)
    for seed in range(7):
        scored(scores, seed)
    assert scores.summary()["fused"]["all"]["frames"] == 3
    with pytest.raises(ScoreError, match="every 1 and 3"):
        scores.merge(FusionScores())
    with pytest.raises(ValueError, match="every is 0"):
        FusionScores(0)
