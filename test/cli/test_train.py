# SPDX-License-Identifier: Apache-2.0
"""`segmif train` from files on disk to a bundle, and what it says when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import tiny_training
import torch
from verb import verb

from segmif_ros.bundle import Bundle
from segmif_ros.network.variants import VARIANTS

main = verb("train")
export = verb("export")

RECIPE = """
variant: tiny
steps: 4
batch: 2
warmup: 2
bf16: false
seeding: example
mix: {mine: {kind: folder, path: pairs, split: "", share: 1.0}}
hold_out_every: 2
validation: {every: 2, pairs: 2}
augmentation: {crop: [64, 64]}
"""


@pytest.fixture(autouse=True)
def tiny_variants() -> Iterator[None]:
    before, threads = dict(VARIANTS), torch.get_num_threads()
    tiny_training.add_variants()
    yield
    torch.set_num_threads(threads)
    VARIANTS.clear()
    VARIANTS.update(before)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with 16 labelled pairs and a recipe for them."""
    for folder in ("visible", "infrared", "labels"):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
    for i in range(16):
        pair = tiny_training.blocks(i)
        for folder, image in (
            ("visible", pair.rgb[..., ::-1]), ("infrared", pair.thermal), ("labels", pair.labels)
        ):  # fmt: skip
            assert cv2.imwrite(str(tmp_path / "pairs" / folder / f"{i:02d}.png"), image)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def train(work: Path, out: str, *more: str) -> int:
    recipe = work / "recipe.yaml"
    return main(
        ["--recipe", str(recipe), "--data", str(work), "--out", str(work / out), "--threads", "1",
         "--device", "cpu", *more]
    )  # fmt: skip


def test_from_a_folder_to_a_bundle_and_on_from_there(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(work, "runs") == 0
    said = capsys.readouterr().out
    assert "step 2: mIoU" in said
    assert ", best\n" in said
    assert "mine: 8 pairs" in said, "every second block of eight is kept for validation"
    assert f"segmif export --checkpoint {work / 'runs' / 'best.pt'}" in said
    rows = [json.loads(line) for line in (work / "runs" / "log.jsonl").read_text().splitlines()]
    assert [row["pairs"] for row in rows if "pairs" in row] == [2, 2]

    monkeypatch.chdir(work)
    command = ["--checkpoint", "runs/best.pt", "--size", "64x64", "--out", "bundle"]
    assert export(command) == 0, "variant and class list are in the checkpoint"
    manifest = Bundle.load(work / "bundle").manifest
    assert (manifest.variant, len(manifest.classes)) == ("tiny", 15)
    assert manifest.provenance["checkpoint"]["path"] == "runs/best.pt"

    assert train(work, "more", "--start", str(work / "bundle")) == 0
    assert "runs/best.pt: all weights" in capsys.readouterr().out
    (work / "runs" / "best.pt").unlink()
    assert train(work, "again", "--start", str(work / "bundle")) == 0
    said = capsys.readouterr().out
    assert "bundle/model.onnx: all weights" in said, "without its checkpoint the graph has them"


def test_data_without_a_label_is_refused_at_once_unless_only_fusion_is_wanted(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "pairs" / "labels").rename(work / "kept")
    assert train(work, "runs") == 1
    assert "no pair of mine has a label or a box: only fusion is trained" in capsys.readouterr().err
    assert not (work / "runs").exists()
    assert train(work, "runs", "--fusion-only") == 0
    said = capsys.readouterr().out
    assert "step 2: fusion loss" in said
    (work / "pairs" / "labels").mkdir()
    (work / "kept" / "03.png").rename(work / "pairs" / "labels" / "03.png")
    assert train(work, "one") == 0, "one label of sixteen pairs is found"


def test_a_finished_run_can_be_resumed_and_a_missing_one_not(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(work, "runs") == 0
    before = (work / "runs" / "log.jsonl").read_text()
    assert train(work, "runs", "--resume") == 0
    assert (work / "runs" / "log.jsonl").read_text() == before
    assert train(work, "other", "--resume") == 1
    assert "checkpoint.pt is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        (("variant: tiny", "variant: b9"), (), "'b9' is unknown"),
        (("path: pairs", "path: gone"), (), "gone is no data set of kind folder"),
        (("hold_out_every: 2", "hold_out_every: 0"), (), "nothing to score on"),
        (("", ""), ("--encoder", "mit.pth"), "nano has its own"),
        (("", ""), ("--start", "absent.pt"), "absent.pt is missing"),
        (("bf16: false", "labels: none"), (), "none"),
    ],
)
def test_what_cannot_be_trained_is_reported_in_words(
    work: Path,
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, str],
    more: tuple[str, ...],
    words: str,
) -> None:
    path = work / "recipe.yaml"
    path.write_text(path.read_text().replace(*change))
    assert train(work, "runs", *more) == 1
    error = capsys.readouterr().err
    assert error.startswith("segmif train: ")
    assert words in error


def test_pairs_that_are_overfitted_end_the_run(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmif_ros.training.overfit._MOST_STEPS", 25)
    assert train(work, "heart", "--overfit", "2") in (0, 3)
    said = capsys.readouterr().out
    assert "overfit: 00, 07" in said
    assert "after 25 steps: 0.95" in said


def test_an_interrupted_run_says_how_to_go_on(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("segmif_ros.training.loop.train", stopped)
    assert train(work, "runs") == 130
    assert "checkpoint.pt continues with --resume" in capsys.readouterr().err


def test_a_run_is_neither_replaced_nor_spread(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(work, "run") == 0
    before = {path: path.read_bytes() for path in (work / "run").glob("*.pt")}
    assert train(work, "run") == 2
    assert "is of an earlier run; continue with --resume" in capsys.readouterr().err
    assert train(work, "run", "--overfit", "2") == 2
    assert {path: path.read_bytes() for path in (work / "run").glob("*.pt")} == before
    assert sorted(p.name for p in work.iterdir()) == ["pairs", "recipe.yaml", "run"]
    assert train(work, "run", "--resume") == 0
