# SPDX-License-Identifier: Apache-2.0
"""Folders of pictures from a bag and from the rig: values kept, no user's files replaced."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from drive_bags import SIZE, drive_bag, thermal, truth

from segmif_ros.cli.main import main
from segmif_ros.datasets.extract import RawPair, write_pairs
from segmif_ros.datasets.opening import open_dataset
from segmif_ros.images.pictures import read_thermal
from segmif_ros.outputs import OutputError
from segmif_ros.recordings.clips import StampedImage
from segmif_ros.recordings.writer import write_bag
from segmif_ros.registration import Calibration, save_calibration


@dataclass
class Radiometric:
    """Two pairs of 16-bit counts from a thermal camera of half the size."""

    notes: tuple[str, ...] = ()
    frames: int = 4

    def __iter__(self):
        for number in range(2):
            counts = np.full((32, 48), 30_000 + number, np.uint16)
            yield StampedImage("thermal", number * 10**8, counts)
            yield StampedImage("rgb", number * 10**8, np.full((*SIZE, 3), number, np.uint8))


def extract(*args: object) -> int:
    bag, out, *options = map(str, args)
    return main(["bag", "extract", bag, "--out", out, *options])


def test_every_nth_pair_becomes_a_folder_that_a_dataset_reader_takes(tmp_path, capsys):
    bag = drive_bag(tmp_path / "drive", 10, labels=True)
    out = tmp_path / "pairs"
    assert extract(bag, out, "--start", 1, "--every", 3, "--limit", 2) == 0
    assert capsys.readouterr().out.startswith("wrote 2 pairs to")
    dataset = open_dataset("auto", out)
    assert [entry.name for entry in dataset] == ["000001", "000004"]
    sample = dataset[1]()
    assert (sample.thermal == thermal(4)).all()
    assert (sample.labels == truth(4)).all()
    rows = (out / "pairs.csv").read_text().splitlines()
    assert rows[1:] == [
        "000001,1700000000050000000,1700000000050000000,yes",
        "000004,1700000000200000000,1700000000200000000,yes",
    ]


def test_16_bits_stay_and_a_calibration_brings_them_onto_the_rgb_image(tmp_path, capsys):
    bag, rig = tmp_path / "drive", tmp_path / "rig.yaml"
    write_bag(Radiometric(), bag, start_ns=10**18)
    assert extract(bag, tmp_path / "raw") == 0
    assert "thermal has 48x32 pixels and rgb 96x64: not registered" in capsys.readouterr().out
    raw = read_thermal(tmp_path / "raw" / "infrared" / "000001.png")
    assert (raw.dtype, raw.shape, raw.max()) == (np.uint16, (32, 48), 30_001)
    save_calibration(Calibration(SIZE, (32, 48), np.diag([1.0, 1.0, 1.0])), rig)
    assert extract(bag, tmp_path / "pairs", "--calibration", rig) == 0
    assert "note" not in capsys.readouterr().out
    placed = read_thermal(tmp_path / "pairs" / "infrared" / "000001.png")
    assert placed.shape == SIZE
    assert (placed[:32, :48] == 30_001).all()
    assert placed[40:].max() == 0


def test_degrees_stay_floats(tmp_path):
    celsius = np.linspace(-20.5, 35.25, 12, dtype=np.float32).reshape(3, 4)
    write_pairs(tmp_path / "out", [RawPair("a", np.zeros((3, 4, 3), np.uint8), celsius, None)])
    assert (read_thermal(tmp_path / "out" / "infrared" / "a.tiff") == celsius).all()


def test_the_rig_is_exported_with_labels_and_counts(tmp_path):
    out = tmp_path / "street"
    assert (
        main(["dataset", "export", "rig", "--out", str(out), "--limit", "1", "--split", "val"]) == 0
    )
    assert read_thermal(out / "infrared" / "rig-50000.png").dtype == np.uint16
    assert len(np.unique(cv2.imread(str(out / "labels" / "rig-50000.png"), -1))) > 5
    assert main(["dataset", "check", str(out)]) == 0


def test_nothing_is_replaced_unless_asked_and_nothing_of_others_ever(tmp_path, capsys):
    bag, out = drive_bag(tmp_path / "drive", 4), tmp_path / "pairs"
    assert extract(bag, out) == 0
    assert extract(bag, out, "--limit", 1) == 2
    assert "--force to replace it" in capsys.readouterr().err
    assert extract(bag, out, "--limit", 1, "--force") == 0
    assert len(list((out / "visible").iterdir())) == 1
    (out / "labels").mkdir()
    (out / "labels" / "000000.png").write_bytes(b"hours of work")
    assert extract(bag, out, "--force") == 2
    assert "labels/000000.png" in capsys.readouterr().err
    foreign = tmp_path / "mine"
    foreign.mkdir()
    with pytest.raises(OutputError, match="what was not written here"):
        write_pairs(foreign, [], force=True)


def test_a_pair_that_fails_leaves_no_half_folder(tmp_path, capsys):
    bag, rig = drive_bag(tmp_path / "drive", 4), tmp_path / "rig.yaml"
    save_calibration(Calibration((480, 640), (480, 640), np.eye(3)), rig)
    assert extract(bag, tmp_path / "out", "--calibration", rig) == 1
    assert "calibrate again at this resolution" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive", "rig.yaml"]


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (["--thermal-offset-ms", 1e9], "a day at most", 2),
        (["--tolerance-ms", "nan"], "--tolerance-ms is nan", 2),
        (["--start", 99], "has 4 pairs; begin earlier", 1),
        (["--rgb-topic", "/nowhere"], "no images on '/nowhere'", 1),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, capsys, options, words, code):
    bag = drive_bag(tmp_path / "drive", 4)
    assert extract(bag, tmp_path / "out", *options) == code
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
