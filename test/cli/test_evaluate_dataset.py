# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_bundle

from segmif_ros.cli.main import main as segmif
from segmif_ros.datasets.classes import load_classes
from segmif_ros.outputs import MARKER
from segmif_ros.report.files import load
from segmif_ros.share import share_path

SIZE = (96, 128)
REPORT = {"report.json", "run.json", "report.html", "pictures", "scores.json", MARKER}
PERSON = (slice(24, 48), slice(60, 72))


def write_pair(root: Path, name: str, *, jpeg: bool = False) -> None:
    """A warm person before a cold street."""
    rng = np.random.default_rng(len(name))
    rgb = rng.integers(0, 200, (*SIZE, 3)).astype(np.uint8)
    thermal = rng.integers(10, 60, SIZE).astype(np.uint8)
    thermal[PERSON] = 220
    for folder, image, suffix in (
        ("visible", rgb, "jpg" if jpeg else "png"),
        ("infrared", thermal, "png"),
    ):
        path = root / folder / f"{name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)


def write_labels(root: Path, name: str, street: int, person: int) -> None:
    labels = np.full(SIZE, street, np.uint8)
    labels[PERSON] = person
    (root / "labels").mkdir(exist_ok=True)
    assert cv2.imwrite(str(root / "labels" / f"{name}.png"), labels)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("small"), SIZE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two labelled pairs, one of them by night, in a plain folder."""
    root = tmp_path / "pairs"
    for name in ("001D", "002N"):
        write_pair(root, name)
        write_labels(root, name, 1, 8)
    return root


@pytest.fixture
def boxed(tmp_path: Path) -> Path:
    """Two pairs with boxes and masks made by machines, as under shared/data/msrs."""
    root = tmp_path / "msrs"
    for name in ("001D", "002N"):
        write_pair(root, name, jpeg=True)
        for part, text in (("boxes", "0 0.515625 0.375 0.09375 0.25\n"), ("mask_mfnet9", None)):
            (root / part).mkdir(exist_ok=True)
            if text:
                (root / part / f"{name}.txt").write_text(text)
            else:
                assert cv2.imwrite(str(root / part / f"{name}.png"), np.zeros(SIZE, np.uint8))
    (root / "train.txt").write_text("")
    (root / "val.txt").write_text("001D\n002N\n")
    return root


def run(bundle: Path, data: Path, *more: str) -> int:
    words = ["--dataset", str(data), "--model", str(bundle), "--engine", "onnxruntime"]
    return segmif(["evaluate", *words, "--threads", "1", "--force", *more])


def scores(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "scores.json").read_text()))


def test_labelled_pairs_become_tables_a_file_and_pictures(
    bundle: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["--dataset", str(folder), "--model", str(bundle), "--engine", "onnxruntime"]
    assert segmif(["evaluate", *words, "--out", str(out), "--min-miou", "0.9"]) == 0
    report = scores(out)
    rows = report["segmentation"]["rows"]
    assert rows["fused"]["night"]["protocols"]["fmb14"] == 1.0
    assert rows["visible"]["all"]["per_class"]["person"] == 0.0
    assert report["dataset"]["scored"] == report["dataset"]["of"] == 2
    assert report["verdict"]["passed"] is True
    assert report["partial"] is None
    text = capsys.readouterr().out
    assert "fmb14     fmb15     fmb13" in text
    assert [line.split()[0] for line in text.splitlines() if "pairs" in line][1:4] == [
        "visible",
        "day",
        "night",
    ]
    pictures = ("confusion_visible.png", "confusion_thermal.png", "confusion_fused.png")
    for name in (*pictures, "worst.jpg"):
        assert cv2.imread(str(out / name)) is not None, name


ALL_FOUND = dict.fromkeys(
    (
        "hit",
        "inside",
        "box_recall",
        "box_precision",
        "average_precision",
        "object_precision",
        "object_recall",
    ),
    1.0,
)


def test_boxes_beside_pictures_need_no_masks(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "pairs", tmp_path / "out"
    for name in ("001D", "002N"):
        write_pair(root, name)
        (root / "boxes").mkdir(exist_ok=True)
        (root / "boxes" / f"{name}.txt").write_text("0 0.515625 0.375 0.09375 0.25\n")
    assert run(bundle, root, "--out", str(out)) == 0
    person = {"boxes": 1, **ALL_FOUND}
    assert scores(out)["boxes"]["fused"]["night"]["person"] == person
    assert "boxes of 0 person, 1 bicycle, 2 car" in capsys.readouterr().out
    drawn = (root / "boxes").rename(tmp_path / "drawn")
    assert run(bundle, root) == 0
    assert "no labels and no boxes: only fusion" in capsys.readouterr().out
    assert run(bundle, root, "--boxes", str(drawn), "--box-classes", "car", "--out", str(out)) == 0
    assert scores(out)["boxes"]["fused"]["night"]["car"]["hit"] == 0.0
    (drawn / "001D.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    assert run(bundle, root, "--boxes", str(drawn)) == 1
    told = capsys.readouterr().err.splitlines()
    assert "001D.txt, line 1: class 7 is none of 0 person, 1 bicycle, 2 car" in told[-1]


def test_a_missed_threshold_is_an_exit_code(
    bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(bundle, folder, "--require", "segmentation.rows.visible.all.protocols.fmb14>=0.9") == 3
    )
    assert "MISSED" in capsys.readouterr().out
    assert run(bundle, folder, "--min-ssim", "2") == 3
    assert run(bundle, folder, "--require", "nonsense") == 2
    assert "'nonsense' is no threshold" in capsys.readouterr().err


def test_labels_of_another_list_are_scored_in_that_list(
    bundle: Path, folder: Path, tmp_path: Path
) -> None:
    """An FMB network says car, person and bike of MFNet's classes; its road is unlabelled there."""
    for name in ("001D", "002N"):
        write_labels(folder, name, 0, 2)
    out = tmp_path / "out"
    assert run(bundle, folder, "--classes", "mfnet9", "--out", str(out)) == 0
    report = scores(out)
    assert report["dataset"]["labels"] == "mfnet9"
    assert "mfnet9" in report["segmentation"]["protocols"]
    assert report["segmentation"]["rows"]["fused"]["all"]["per_class"]["person"] == 1.0
    assert [c.name for c in load_classes("mfnet9")] == report["segmentation"]["classes"]


def test_a_set_divided_by_lists_is_scored_on_its_test_list(
    bundle: Path, folder: Path, tmp_path: Path
) -> None:
    """MFNet and plain folders hold all pairs in one place; training pairs must not be scored."""
    (folder / "train.txt").write_text("001D\n")
    (folder / "test.txt").write_text("002N\n")
    out = tmp_path / "out"
    assert run(bundle, folder, "--out", str(out)) == 0
    report = scores(out)
    assert report["dataset"]["split"] == "test"
    assert [row[0] for row in report["pairs"]["rows"]] == ["002N"]


def test_what_is_not_scored_is_reported(
    bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (folder / "infrared" / "001D.png").unlink()
    assert run(bundle, folder, "--out", str(tmp_path / "out")) == 0
    assert scores(tmp_path / "out")["dataset"]["unpaired"] == 1
    assert "unpaired: 1; `segmif dataset check` names" in capsys.readouterr().out


def test_a_class_list_of_ones_own_is_scored_by_its_protocols(
    bundle: Path, folder: Path, tmp_path: Path
) -> None:
    shipped = share_path("config", "labels", "fmb15.yaml").read_text()
    own = tmp_path / "plant.yaml"
    own.write_text(shipped.replace("name: fmb15", "name: plant").replace("fmb14:", "strict:"))
    out = tmp_path / "out"
    assert run(bundle, folder, "--classes", str(own), "--out", str(out)) == 0
    report = scores(out)
    assert report["dataset"]["labels"] == "plant"
    assert list(report["segmentation"]["protocols"]) == ["strict", "fmb15", "fmb13", "fmb8"]
    assert run(bundle, folder, "--protocol", f"{own}:fmb8,{own}", "--out", str(out)) == 0
    assert list(scores(out)["segmentation"]["protocols"]) == ["fmb8", "strict"]


def test_boxes_are_scored_and_the_masks_beside_them_are_not(
    bundle: Path, boxed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, fused = tmp_path / "out", tmp_path / "fused"
    fused.mkdir()
    for name in ("001D", "002N"):
        picture = cv2.imread(str(boxed / "visible" / f"{name}.jpg"))
        assert cv2.imwrite(str(fused / f"{name}.png"), picture)
    code = run(
        bundle,
        boxed,
        f"--fused=copy={fused}",
        "--require=boxes.fused.night.person.hit>=0.7",
        "--require=boxes.visible.night.person.hit<0.1",
        f"--out={out}",
    )
    assert code == 0
    report = scores(out)
    assert report["segmentation"] is None
    assert report["dataset"]["split"] == "val"
    assert report["boxes"]["fused"]["all"] == {"person": {"boxes": 2, **ALL_FOUND}}
    assert list(report["fusion"]["night"]) == ["visible", "thermal", "fused", "copy"]
    assert report["other_methods"] == ["copy"]
    assert {path.name for path in out.iterdir()} == {*REPORT, "worst.jpg"}
    assert "mIoU" not in capsys.readouterr().out


def test_pictures_of_an_earlier_run_do_not_stay(
    bundle: Path, boxed: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(bundle, folder, "--out", str(out)) == 0
    assert (out / "confusion_fused.png").is_file()
    (out / "notes.txt").write_text("mine")
    assert run(bundle, boxed, "--out", str(out), "--worst", "0") == 0
    assert {path.name for path in out.iterdir()} == {*REPORT, "notes.txt"}


def test_a_method_without_all_pictures_is_not_compared(
    bundle: Path, boxed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fused = tmp_path / "SomeNet"
    fused.mkdir()
    assert run(bundle, boxed, "--fused", str(fused)) == 1
    assert cv2.imwrite(str(fused / "001D.png"), np.zeros((*SIZE, 3), np.uint8))
    assert run(bundle, boxed, "--fused", str(fused), "--limit", "1") == 0
    assert "SomeNet" in capsys.readouterr().out
    assert run(bundle, boxed, "--fused", str(fused)) == 1
    assert "no picture '002N'" in capsys.readouterr().err
    assert cv2.imwrite(str(fused / "002N.png"), np.zeros((99, 99, 3), np.uint8))
    assert run(bundle, boxed, "--fused", str(fused)) == 1
    assert "SomeNet (99, 99)" in capsys.readouterr().err
    assert run(bundle, boxed, "--fused", f"fused={fused}") == 2
    assert "write NAME=" in capsys.readouterr().err


def test_what_cannot_be_used_is_named(
    bundle: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, code, told in (
        (["--dataset", str(tmp_path / "nowhere")], 1, "does not exist"),
        (["--dataset", str(folder), "--protocol", "fmb14,mfnet9"], 2, "one at a time"),
        (["--dataset", str(folder), "--protocol", "fmb99"], 2, "no protocol 'fmb99'"),
        (["--dataset", str(folder), "--split", "moon"], 1, "moon"),
        (["--dataset", str(folder), "--model", "no-such-model"], 1, "no-such-model"),
        (["--dataset", str(folder), "--out", str(folder / "visible" / "001D.png")], 2, "001D.png"),
    ):
        assert segmif(["evaluate", "--model", str(bundle), *words]) == code, words
        assert told in capsys.readouterr().err
    (folder / "visible" / "002N.png").write_bytes(b"not a picture")
    assert run(bundle, folder) == 1
    assert "002N" in capsys.readouterr().err


def test_an_interruption_keeps_what_is_done(
    bundle: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bar:
        """Ctrl-C as soon as one pair is done."""

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("segmif_ros.cli.evaluate_dataset.progress_bar", lambda **_: Bar())
    out = tmp_path / "out"
    assert run(bundle, folder, "--out", str(out)) == 130
    report = scores(out)
    assert report["partial"] == "stopped after 1 of 2"
    assert report["segmentation"]["rows"]["fused"]["all"]["frames"] == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_same_run_writes_the_same_bytes(bundle: Path, folder: Path, tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        assert run(bundle, folder, "--out", str(tmp_path / name)) == 0
        files = [p for p in (tmp_path / name).rglob("*") if p.is_file()]
        written.append({p.relative_to(tmp_path / name): p.read_bytes() for p in files})
        for dated in ("report.html", "run.json"):
            assert written[-1].pop(Path(dated))
    assert written[0] == written[1]


def test_a_data_set_has_the_same_report_as_a_drive(
    bundle: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(bundle, folder, "--out", str(out), "--require", "pairs.evaluated>=2") == 0
    report = load(out)
    assert report["verdict"]["passed"] is True
    assert report["dataset"]["rows"][0][0] == "001D"
    assert report["calibration"]["all"]["person"]["error"] > 0.0
    assert [entry["why"].partition(":")[0] for entry in report["pictures"]] == ["001D", "002N"]
    assert all((out / entry["mask"]).is_file() for entry in report["pictures"])
    page = (out / "report.html").read_text()
    for words in ("Expected calibration error", "mIoU fused", "Segmentation", "data set, read as"):
        assert words in page
    for words in ("Frames and pairs", "light is estimated from the picture"):
        assert words not in page
    assert segmif(["compare", str(out), str(out)]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["bag", "--dataset", "x"], "not both"),
        ([], "give bags and --out DIR"),
        (["bag"], "give bags and --out DIR"),
        (["--dataset", "x", "--live"], "--live goes with bags only"),
        (["--dataset", "x", "--params", "y"], "--params goes with bags only"),
        (["bag", "--out", "o", "--split", "val"], "--split goes with a data set only"),
        (["bag", "--out", "o", "--fused", "f"], "--fused goes with a data set only"),
    ],
)
def test_one_command_line_for_bags_and_data_sets(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        segmif(["evaluate", *words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_the_rig_is_a_data_set(bundle: Path, tmp_path: Path) -> None:
    assert run(bundle, Path("rig"), "--limit", "1", "--out", str(tmp_path / "out")) == 0
    report = scores(tmp_path / "out")
    assert report["dataset"]["split"] == "test"
    assert report["pairs"]["rows"][0][0] == "rig-0"


@pytest.mark.data
def test_the_development_pairs(bundle: Path, shared_data: Path, tmp_path: Path) -> None:
    msrs, out = shared_data / "msrs", tmp_path / "out"
    other = f"SeAFusion={msrs / 'fused_seafusion'}"
    assert run(bundle, msrs, "--limit", "2", "--fused", other, "--out", str(out)) == 0
    report = scores(out)
    assert report["dataset"]["split"] == "val"
    assert report["boxes"]["fused"]["all"]["person"]["boxes"] > 0
    assert report["fusion"]["all"]["SeAFusion"]["frames"] == 2


def test_the_data_set_and_foreign_files_are_never_written(
    bundle: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in (folder, folder / "visible", folder / "scores", bundle):
        assert run(bundle, folder, "--out", str(out)) == 2
        assert "would become part of it" in capsys.readouterr().err
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "worst.jpg").write_text("mine")
    assert run(bundle, folder, "--out", str(mine)) == 2
    assert "worst.jpg is there already" in capsys.readouterr().err
    assert [path.read_text() for path in mine.iterdir()] == ["mine"]
