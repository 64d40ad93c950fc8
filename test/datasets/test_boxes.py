# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from dataset_layouts import SIZE, make_fmb, make_plain

from segmif_ros.datasets.opening import open_dataset
from segmif_ros.datasets.sample import BICYCLE, CAR, PERSON, DatasetError
from segmif_ros.metrics.boxes import Box

HALF = "0.5 0.5 0.5 0.5"
IN_PIXELS = (16, 12, 48, 36)


def write_boxes(folder: Path, **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_boxes_beside_the_pictures_come_with_the_pairs(tmp_path: Path) -> None:
    root = make_plain(tmp_path, labels=False)
    write_boxes(root / "boxes", a=f"0 {HALF}\n\n2 {HALF} 0.93\n")
    write_boxes(root / "boxes" / "night", b="")
    dataset = open_dataset("auto", root)
    assert (dataset.kind, dataset.unpaired) == ("folder", ())
    assert dataset.notes == ("boxes of 0 person, 1 bicycle, 2 car",)
    first, second = dataset[0](), dataset[1]()
    assert first.boxes == (Box(PERSON, *IN_PIXELS), Box(CAR, *IN_PIXELS))
    assert second.boxes == ()


def test_a_pair_without_its_file_is_named(tmp_path: Path) -> None:
    root = make_plain(tmp_path, labels=False)
    write_boxes(root / "boxes", a=f"1 {HALF}\n")
    dataset = open_dataset("auto", root)
    assert dataset.unpaired == ("night/b: not in boxes",)
    assert dataset[0]().boxes == (Box(BICYCLE, *IN_PIXELS),)
    assert dataset[1]().boxes is None


@pytest.mark.parametrize("names", ["classes.txt", "words"])
def test_names_say_which_id_is_which_class(tmp_path: Path, names: str) -> None:
    root = make_plain(tmp_path, labels=False)
    write_boxes(root / "boxes", a=f"1 {HALF}\n0 {HALF}\n")
    words = None
    if names == "classes.txt":
        write_boxes(root / "boxes", classes="-\ntruck\n")
    else:
        words = ["-", "truck"]
    assert open_dataset("auto", root, box_classes=words)[0]().boxes == (Box(10, *IN_PIXELS),)


def test_boxes_may_lie_elsewhere_and_in_parts(tmp_path: Path) -> None:
    root = make_fmb(tmp_path / "fmb")
    other = write_boxes(tmp_path / "drawn", **{"00004": f"0 {HALF}", "00005": ""})
    dataset = open_dataset("auto", root, "test", boxes=other)
    sample = dataset[0]()
    assert sample.labels is not None
    assert sample.boxes == (Box(PERSON, *IN_PIXELS),)
    write_boxes(root / "train" / "boxes", **{"00001": f"2 {HALF}"})
    assert open_dataset("auto", root, "train")[0]().boxes == (Box(CAR, *IN_PIXELS),)


def test_ids_of_another_class_list_follow_it(tmp_path: Path) -> None:
    root = make_plain(tmp_path, labels=False)
    write_boxes(root / "boxes", a=f"0 {HALF}\n2 {HALF}\n")
    boxes = open_dataset("auto", root, labels="mfnet9", annotated="mfnet9")[0]().boxes
    assert boxes == (Box(2, *IN_PIXELS), Box(1, *IN_PIXELS))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"7 {HALF}", "class 7 is none of 0 person, 1 bicycle, 2 car"),
        (f"-1 {HALF}", "class -1 is none of"),
        ("0 1.5 0.5 0.2 0.2", "lies outside the picture"),
        ("0 0.95 0.5 0.2 0.2", "lies outside the picture"),
        ("0 320 240 60 80", "lies outside the picture"),
        ("0 0.5 0.5 0 0.2", "lies outside the picture"),
        ("0 0.5 0.5 -0.2 0.2", "lies outside the picture"),
        ("0 nan 0.5 0.2 0.2", "lies outside the picture"),
        ("0 inf 0.5 0.2 0.2", "lies outside the picture"),
        ("0 0.5 0.5 0.2", "is no box"),
        (f"person {HALF}", "is no box"),
        (f"0.0 {HALF}", "is no box"),
    ],
)
def test_what_is_no_box_of_the_picture_is_one_line(tmp_path: Path, line: str, told: str) -> None:
    root = make_plain(tmp_path, labels=False)
    write_boxes(root / "boxes", a=f"0 {HALF}\n{line}\n")
    with pytest.raises(DatasetError, match=told) as caught:
        open_dataset("auto", root)[0]()
    assert "a.txt, line 2: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_box_that_spills_over_the_border_is_clipped(tmp_path: Path) -> None:
    root = make_plain(tmp_path, labels=False)
    write_boxes(root / "boxes", a="0 0.05 0.95 0.11 0.11\n")
    (box,) = open_dataset("auto", root)[0]().boxes or ()
    assert (box.left, box.bottom) == (0, SIZE[0])


def test_folders_and_names_of_no_use_are_refused(tmp_path: Path) -> None:
    root = make_plain(tmp_path / "pairs", labels=False)
    with pytest.raises(DatasetError, match=r"drawn' is no folder"):
        open_dataset("auto", root, boxes=tmp_path / "drawn")
    with pytest.raises(DatasetError, match="has no folder boxes/"):
        open_dataset("auto", root, box_classes=["person"])
    drawn = write_boxes(tmp_path / "drawn", other="")
    with pytest.raises(DatasetError, match=r"no file named after a pair; expected a\.txt"):
        open_dataset("auto", root, boxes=drawn)
    write_boxes(drawn, a="")
    with pytest.raises(DatasetError, match=r"'bike' is no class of 'fmb15'; it has .*bicycle"):
        open_dataset("auto", root, boxes=drawn, box_classes=["bike"])
    with pytest.raises(DatasetError, match=r"give classes of 'mine' with --box-classes"):
        open_dataset("auto", root, boxes=drawn, annotated=str(own_list(tmp_path)))
    dataset = open_dataset(
        "auto", root, boxes=drawn, annotated=str(own_list(tmp_path)), box_classes=["boat"]
    )
    assert dataset[0]().boxes == ()


def own_list(folder: Path) -> Path:
    path = folder / "mine.yaml"
    path.write_text("name: mine\nclasses:\n  - {id: 0, name: boat, color: [1, 2, 3]}\n")
    return path
