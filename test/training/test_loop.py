# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import CLASSES, OPTIONS, RECIPE, blocks, source

from segmif_ros.datasets.sample import Sample
from segmif_ros.training import loop
from segmif_ros.training.loop import Options, TrainingError, draw_batch, train
from segmif_ros.training.recipe import Recipe, Rounds, Validation, Weighting

PAIRS = {"blocks": source()}


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def curve(out: Path) -> list[tuple[float, float]]:
    return [(row["fusion"], row["segmentation"]) for row in rows(out) if "fusion" in row]


def interrupting(at: int, number: int = signal.SIGINT) -> list[Callable[[], Sample]]:
    """A source that sends a signal when its `at`-th pair is drawn."""
    drawn = 0

    def load() -> Sample:
        nonlocal drawn
        drawn += 1
        if drawn == at:
            os.kill(os.getpid(), number)
        return blocks(drawn % 6)

    return [load]


def test_a_finished_run_leaves_a_checkpoint_that_resumes_to_itself(tmp_path: Path) -> None:
    average = train(RECIPE, PAIRS, tmp_path, classes=CLASSES, options=OPTIONS)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (state["step"], state["variant"], state["classes"]) == (6, "tiny", CLASSES)
    for name, value in average.state_dict().items():
        assert torch.equal(state["average"][name], value), name
    assert [row["step"] for row in rows(tmp_path)] == list(range(6))
    resumed = train(RECIPE, PAIRS, tmp_path, classes=CLASSES, resume=True, options=OPTIONS)
    for a, b in zip(resumed.parameters(), average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_that_resumes_with_other_labels_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(RECIPE, PAIRS, tmp_path, classes=CLASSES, options=OPTIONS)
    longer = replace(RECIPE, steps=7)
    train(longer, PAIRS, tmp_path, classes=CLASSES, resume=True, options=OPTIONS)
    assert "other labels" not in capsys.readouterr().out

    def relabelled() -> Sample:
        pair = blocks(0)
        labels = np.asarray(pair.labels).copy()
        labels[0, 0] = 255
        return replace(pair, labels=labels)

    other = {"blocks": [relabelled, *PAIRS["blocks"][1:]]}
    longer = replace(RECIPE, steps=8)
    train(longer, other, tmp_path, classes=CLASSES, resume=True, options=OPTIONS)
    assert "started with other labels of 'blocks'" in capsys.readouterr().out


MOVING = replace(
    RECIPE,
    steps=8,
    weighting=Weighting("loss_ratio", window=1),
    validation=Validation(every=3, pairs=2),
)
PAPER = replace(
    RECIPE,
    variant="tiny-cascade",
    objective="paper",
    target="saliency",
    rounds=Rounds(
        count=2, first_fusion_steps=2, fusion_steps=3, segmentation_steps=2,
        fusion_crop=(64, 64), segmentation_crop=(64, 64), warmup=2,
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "stop_after"), [(MOVING, 4), (PAPER, 2)], ids=["joint", "between phases"]
)
def test_an_interrupted_run_continues_as_if_it_had_not_stopped(
    tmp_path: Path, recipe: Recipe, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, dropped paths, weighting, optimiser and the best score all have to be kept."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    options, checked = replace(OPTIONS, save_every=100), {"validation": source(2)}
    average = train(recipe, PAIRS, whole, classes=CLASSES, options=options, **checked)
    asked = 0

    class Asked(threading.Event):
        def is_set(self) -> bool:
            nonlocal asked
            asked += 1
            return asked == stop_after

    with monkeypatch.context() as patch:
        patch.setattr(loop, "stop_on_signals", lambda: contextlib.nullcontext(Asked()))
        with pytest.raises(KeyboardInterrupt):
            train(recipe, PAIRS, halves, classes=CLASSES, options=options, **checked)
    assert torch.load(halves / "checkpoint.pt", weights_only=True)["step"] == stop_after
    resumed = train(recipe, PAIRS, halves, classes=CLASSES, resume=True, options=options, **checked)
    assert curve(halves) == curve(whole)
    for a, b in zip(resumed.parameters(), average.parameters(), strict=True):
        assert torch.equal(a, b)
    found = [
        torch.load(out / "checkpoint.pt", weights_only=True)["best"] for out in (whole, halves)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_after_the_step(tmp_path: Path, number: int) -> None:
    recipe = replace(RECIPE, steps=1000)
    pairs = {"blocks": interrupting(9, number)}
    with pytest.raises(KeyboardInterrupt):
        train(recipe, pairs, tmp_path, classes=CLASSES, options=OPTIONS)
    step = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"]
    assert 1 <= step < 10
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_loss_that_is_not_finite_names_the_step_and_the_pairs(tmp_path: Path) -> None:
    recipe = replace(RECIPE, lr=1e30, warmup=1, steps=50)
    with pytest.raises(TrainingError, match=r"step [1-9]\d?: the loss is not finite.*blocks-\d, "):
        train(recipe, PAIRS, tmp_path, classes=CLASSES, options=OPTIONS)


def test_a_batch_depends_on_seed_and_step_only() -> None:
    first, again, other = (draw_batch(RECIPE, PAIRS, step) for step in (7, 7, 8))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_best_weights_come_from_validation_and_are_returned(tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=8, validation=Validation(every=2, pairs=2))
    average = train(recipe, PAIRS, tmp_path, classes=CLASSES, validation=source(2), options=OPTIONS)
    scores = {row["step"] + 1: row for row in rows(tmp_path) if "validation_miou" in row}
    assert sorted(scores) == [2, 4, 6, 8]
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    wanted = max(scores, key=lambda step: (scores[step]["validation_miou"], -step))
    assert best["step"] == wanted
    assert best["score"] == scores[wanted]["validation_miou"]
    assert [step for step, row in scores.items() if row["best"]][-1] == wanted
    for name, value in average.state_dict().items():
        assert torch.equal(best["average"][name], value), name
    assert any((tmp_path / "board").iterdir())


def test_a_run_that_starts_again_keeps_no_other_runs_best_weights(tmp_path: Path) -> None:
    torch.save({"average": {}, "score": 1.0}, tmp_path / "best.pt")
    (tmp_path / "log.jsonl").write_text('{"step": 900}\n')
    train(replace(RECIPE, steps=1), PAIRS, tmp_path, classes=CLASSES, options=OPTIONS)
    assert not (tmp_path / "best.pt").exists()
    assert [row["step"] for row in rows(tmp_path)] == [0]


def test_a_run_without_labels_is_judged_by_its_fusion(tmp_path: Path) -> None:
    def unlabelled() -> Sample:
        pair = blocks(1)
        return Sample(pair.rgb, pair.thermal, None, pair.name)

    recipe = replace(RECIPE, steps=2, validation=Validation(every=1))
    train(
        recipe, {"blocks": [unlabelled]}, tmp_path, classes=CLASSES, validation=[unlabelled],
        options=OPTIONS,
    )  # fmt: skip
    found = [row for row in rows(tmp_path) if "validation_fusion" in row]
    assert [row["validation_miou"] for row in found] == [None, None]
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert best["score"] == pytest.approx(-min(row["validation_fusion"] for row in found))


def test_parts_of_a_batch_add_up_to_the_batch(tmp_path: Path) -> None:
    """BatchNorm sees less at a time, so the first loss differs a little; the cascade has one."""
    recipe = replace(RECIPE, variant="tiny-steady", steps=1)
    train(recipe, PAIRS, tmp_path / "one", classes=CLASSES, options=OPTIONS)
    train(replace(recipe, accumulate=2), PAIRS, tmp_path / "two", classes=CLASSES, options=OPTIONS)
    np.testing.assert_allclose(curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=0.05)


def test_float16_scales_its_loss(tmp_path: Path) -> None:
    options = Options(device="cpu", precision="fp16", log_every=1)
    train(RECIPE, PAIRS, tmp_path, classes=CLASSES, options=options)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["scaler"]["scale"] > 1.0
    assert np.isfinite(curve(tmp_path)).all()
    with pytest.raises(TrainingError, match="float16 cannot hold"):
        train(PAPER, PAIRS, tmp_path / "cascade", classes=CLASSES, options=options)


def test_weights_move_and_are_logged(tmp_path: Path) -> None:
    train(MOVING, PAIRS, tmp_path, classes=CLASSES, options=OPTIONS)
    weights = [(r["fusion_weight"], r["segmentation_weight"]) for r in rows(tmp_path)]
    assert weights[0] == (1.0, 1.0)
    assert len(set(weights)) > 3
    assert all(a + b == pytest.approx(2.0) for a, b in weights)


def test_weights_stay_where_one_loss_is_trained_alone(tmp_path: Path) -> None:
    weighting = Weighting("loss_ratio", temperature=0.1, window=1)
    recipe = replace(PAPER, weighting=weighting, rounds=replace(PAPER.rounds, fusion_steps=6))
    train(recipe, PAIRS, tmp_path, classes=CLASSES, options=OPTIONS)
    seen: dict[str, set[float]] = {}
    for row in rows(tmp_path):
        seen.setdefault(row["phase"], set()).add(row["segmentation_weight"])
    assert len(seen["fusion 2"]) > 1
    assert seen["fusion 1"] == seen["segmentation 1"] == seen["segmentation 2"] == {1.0}


def test_the_published_rounds_train_by_turns(tmp_path: Path) -> None:
    average = train(
        replace(PAPER, ema=0.0), PAIRS, tmp_path, classes=CLASSES, options=replace(OPTIONS)
    )
    names = ["fusion 1"] * 2 + ["segmentation 1"] * 2 + ["fusion 2"] * 3 + ["segmentation 2"] * 2
    assert [row["phase"] for row in rows(tmp_path)] == names
    segmentation = [row["segmentation"] for row in rows(tmp_path)]
    assert segmentation[:2] == [0.0, 0.0]
    assert min(segmentation[2:]) > 0.0
    assert all(torch.isfinite(p).all() for p in average.parameters())
