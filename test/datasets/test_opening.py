# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_layouts import (
    labels_of,
    make_fmb,
    make_mfnet,
    make_msrs,
    make_plain,
    make_pst900,
    rgb_of,
    thermal_of,
)

from segmif_ros.datasets.opening import KINDS, open_dataset
from segmif_ros.datasets.sample import DatasetError

MAKERS = {
    "fmb": (make_fmb, "train", ["train/00001", "train/00002", "train/00003"], 15, "fmb15"),
    "msrs": (make_msrs, "train", ["train/00001D", "train/00002N"], 9, "mfnet9"),
    "pst900": (
        make_pst900,
        "train",
        ["train/1_bag21_rect_rgb_frame07", "train/31_bag1a_rect"],
        5,
        "pst900",
    ),
    "folder": (make_plain, None, ["a", "night/b"], 15, "fmb15"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_layout_is_identified_by_its_folders_and_read_pixel_by_pixel(
    kind: str, tmp_path: Path
) -> None:
    make, split, names, classes, labels = MAKERS[kind]
    dataset = open_dataset("auto", make(tmp_path), split)
    assert (dataset.kind, dataset.labels, dataset.unpaired) == (kind, labels, ())
    assert [entry.name for entry in dataset] == names
    for number, entry in enumerate(dataset):
        sample = entry()
        assert np.array_equal(sample.rgb, rgb_of(number))
        assert np.array_equal(sample.thermal, thermal_of(number))
        assert sample.labels is not None
        assert np.array_equal(sample.labels, labels_of(number, classes))
        assert (sample.name, sample.when) == (entry.name, entry.when)
        assert entry.labelled


def test_mfnet_has_four_channels_and_lists(tmp_path: Path) -> None:
    root = make_mfnet(tmp_path)
    train = open_dataset("auto", root, "train")
    assert train.kind == "mfnet"
    assert [(e.name, e.when) for e in train] == [
        ("00001D", "day"), ("00003N", "night"), ("00003N_flip", "night"),
    ]  # fmt: skip
    sample = train[1]()
    assert np.array_equal(sample.rgb, rgb_of(2))
    assert np.array_equal(sample.thermal, thermal_of(2))
    assert sample.labels is not None
    assert np.array_equal(sample.labels, labels_of(2, 9))
    assert [e.name for e in open_dataset("mfnet", root, "val")] == ["00002D"]
    assert len(open_dataset("mfnet", root)) == 4
    with pytest.raises(DatasetError, match="no split 'test', expected one of test_night, train, v"):
        open_dataset("mfnet", root, "test")


def test_all_splits_come_together_and_one_split_alone(tmp_path: Path) -> None:
    root = make_fmb(tmp_path)
    assert [e.split for e in open_dataset("fmb", root)] == ["train"] * 3 + ["test"] * 2
    assert [e.name for e in open_dataset("fmb", root, "test")] == ["test/00004", "test/00005"]
    assert [e.name for e in open_dataset("fmb", root / "test")] == ["00004", "00005"]
    with pytest.raises(DatasetError, match="no split 'val', expected one of train, test"):
        open_dataset("fmb", root, "val")


def test_day_and_night_are_read_from_names(tmp_path: Path) -> None:
    msrs = open_dataset("auto", make_msrs(tmp_path / "msrs"))
    assert [e.when for e in msrs] == ["day", "night", "day", "night"]
    plain = open_dataset("auto", make_plain(tmp_path / "plain"))
    assert [e.when for e in plain] == [None, "night"]
    fmb = open_dataset("auto", make_fmb(tmp_path / "fmb"))
    assert {e.when for e in fmb} == {None}


def test_labels_come_in_the_class_list_that_is_requested(tmp_path: Path) -> None:
    root = make_msrs(tmp_path)
    sample = open_dataset("msrs", root, "train", labels="fmb15")[0]()
    assert sample.labels is not None
    assert sample.labels[0, :9].tolist() == [254, 9, 8, 13, 254, 254, 254, 254, 254]
    with pytest.raises(DatasetError, match="'mfnet9' cannot be read as 'pst900'"):
        open_dataset("msrs", root, "train", labels="pst900")


def test_ignored_ids_become_255(tmp_path: Path) -> None:
    sample = open_dataset("fmb", make_fmb(tmp_path), "train", ignore=(0, 13))[0]()
    assert sample.labels is not None
    assert sample.labels[0, :15].tolist() == [255, *range(1, 13), 255, 14]


def test_a_plain_folder_may_have_another_class_list_no_labels_and_split_lists(
    tmp_path: Path,
) -> None:
    root = make_plain(tmp_path / "bare", labels=False)
    bare = open_dataset("auto", root)
    assert [e.labelled for e in bare] == [False, False]
    assert bare[0]().labels is None
    assert bare.unpaired == ()
    with pytest.raises(DatasetError, match=r"no split 'train', it is not divided.* in a recipe"):
        open_dataset("auto", root, "train")
    (root / "train.txt").write_text("night/b.png\n")
    assert [e.name for e in open_dataset("auto", root, "train")] == ["night/b"]
    assert open_dataset("auto", root, annotated="mfnet9", labels="fmb15").labels == "fmb15"


def test_what_is_no_data_set_is_reported_with_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "junk").mkdir()
    with pytest.raises(DatasetError, match=rf"it holds junk; known are {', '.join(KINDS)}"):
        open_dataset("auto", tmp_path)
    for kind in ("auto", *(kind for kind in KINDS if kind != "rig")):
        with pytest.raises(DatasetError, match=r"nothing is no .*: it does not exist; ") as caught:
            open_dataset(kind, tmp_path / "nothing")
        assert ("--kind KIND" in str(caught.value)) == (kind == "auto")
        assert "\n" not in str(caught.value)
    with pytest.raises(DatasetError, match=r"expected .*Visible/, Infrared/ and Label/"):
        open_dataset("fmb", tmp_path)
    with pytest.raises(DatasetError, match="no kind of data set 'coco', expected auto, fmb, mfnet"):
        open_dataset("coco", tmp_path)
    make_fmb(tmp_path / "FMB")
    with pytest.raises(DatasetError, match=r"did you mean .*FMB\?"):
        open_dataset("auto", tmp_path)
    with pytest.raises(DatasetError, match=r"no data set of kind mfnet: it holds test, train; "):
        open_dataset("mfnet", tmp_path / "FMB")


def test_the_rig_needs_no_folder_and_never_ends() -> None:
    dataset = open_dataset("auto", Path("rig"), "train")
    assert dataset.kind == "rig"
    assert len(dataset) > 2_000_000_000
    assert dataset[7].name == "rig-100007"
    assert open_dataset("rig", Path("rig"), "test")[-1].name == "rig-49999"
    one, again = dataset[7](), dataset[7]()
    assert np.array_equal(one.rgb, again.rgb)
    assert one.labels is not None
    assert one.rgb.shape == (480, 640, 3)
    assert {e.when for e in dataset[:40]} == {None, "day", "night"}
    with pytest.raises(DatasetError, match="no split 'val2'"):
        open_dataset("rig", Path("rig"), "val2")


@pytest.mark.data
def test_the_development_data_opens(shared_data: Path) -> None:
    val = open_dataset("auto", shared_data / "msrs", "val")
    assert (val.kind, len(val), val.labels) == ("msrs", 60, "fmb15")
    assert sum(entry.when == "night" for entry in val) == 40
    sample = val[0]()
    assert sample.boxes
    assert sample.labels is not None
    roads = open_dataset("auto", shared_data / "roadscene")
    assert (roads.kind, len(roads)) == ("folder", 150)
    clips = open_dataset("auto", shared_data / "m3svd_frames")
    assert (clips.kind, len(clips)) == ("folder", 100)
