# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_layouts import SIZE, make_fmb, make_mfnet, make_msrs, make_plain, write

from segmif_ros.datasets.check import (
    Alignment,
    alignment_of,
    check_dataset,
    draw_sheet,
    shift_of,
    spread,
)
from segmif_ros.datasets.opening import open_dataset
from segmif_ros.datasets.sample import DatasetError, Sample


def street(shift: tuple[int, int], seed: int = 0) -> Sample:
    """120x160: thermal shows the same blobs, moved right and down by whole pixels."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (200, 240), np.uint8)
    blobs = cv2.GaussianBlur(noise, (0, 0), 3)
    blobs = (blobs > blobs.mean()).astype(np.uint8) * 180 + 30
    right, down = shift
    seen = blobs[40:160, 40:200]
    warm = blobs[40 - down : 160 - down, 40 - right : 200 - right]
    return Sample(np.repeat(seen[..., None], 3, axis=2), np.ascontiguousarray(warm), None, "s")


def measured(*samples: Sample) -> Alignment:
    return alignment_of([(sample.name, shift_of(sample)) for sample in samples])


def test_a_sound_data_set_is_counted(tmp_path: Path) -> None:
    report = check_dataset(open_dataset("auto", make_fmb(tmp_path), strict=False))
    assert report.sound
    assert (report.kind, report.pairs, report.read, report.labelled) == ("fmb", 5, 5, 5)
    assert report.splits == {"train": 3, "test": 2}
    assert report.when == {"unknown": 5}
    assert report.sizes == {"64x48": 5}
    assert [each.id for each in report.classes] == list(range(15))
    assert all(each.pairs == 5 for each in report.classes)
    # Stripes of one column each: 64 columns hold every class four times, some five times.
    columns = np.bincount([(x + n) % 15 for n in range(5) for x in range(SIZE[1])], minlength=15)
    assert [each.share for each in report.classes] == [
        round(int(count) / (5 * SIZE[1]), 6) for count in columns
    ]
    assert json.loads(json.dumps(report.to_json()))["classes"][8]["name"] == "person"


def test_day_night_and_ignored_pixels_are_counted(tmp_path: Path) -> None:
    root = make_msrs(tmp_path)
    write(root / "train" / "Segmentation_labels" / "00001D.png", np.full(SIZE, 255, np.uint8))
    report = check_dataset(open_dataset("msrs", root, "train", strict=False))
    assert report.when == {"day": 1, "night": 1}
    assert report.ignored == 0.5
    assert sum(each.share for each in report.classes) == pytest.approx(1.0, abs=1e-5)
    other = open_dataset("msrs", root, "test", labels="fmb15", strict=False)
    assert check_dataset(other).background > 0.5


def test_everything_that_is_wrong_is_named(tmp_path: Path) -> None:
    root = make_fmb(tmp_path)
    (root / "train" / "Infrared" / "00001.png").unlink()
    (root / "test" / "Label" / "00005.png").unlink()
    cut = root / "train" / "Visible" / "00002.png"
    cut.write_bytes(cut.read_bytes()[:60])
    write(root / "test" / "Label" / "00004.png", np.full(SIZE, 77, np.uint8))
    write(root / "train" / "Infrared" / "00003.png", np.zeros((20, 20), np.uint8))
    report = check_dataset(open_dataset("auto", root, strict=False))
    assert not report.sound
    assert report.unpaired == (
        "train/00001: not in Infrared",
        "test/00005: not in Label",
    )
    (unreadable,) = report.unreadable
    assert "00002.png: PNG is cut short" in unreadable
    assert report.sizes == {"64x48": 2, "64x48, thermal 20x20": 1}
    assert report.unknown == {77: ["test/00004"]}
    assert report.read == 3


def test_a_cut_jpeg_is_unreadable_although_a_decoder_takes_it(tmp_path: Path) -> None:
    root = make_plain(tmp_path)
    for path in list((root / "visible").rglob("*.png")):
        noise = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
        write(path.with_suffix(".jpg"), noise)
        path.unlink()
    assert check_dataset(open_dataset("auto", root, strict=False)).sound
    cut = root / "visible" / "a.jpg"
    cut.write_bytes(cut.read_bytes()[:-900])
    assert cv2.imread(str(cut)) is not None
    (unreadable,) = check_dataset(open_dataset("auto", root, strict=False)).unreadable
    assert "a.jpg: JPEG is cut short" in unreadable


def test_lists_and_channels_of_mfnet_are_checked(tmp_path: Path) -> None:
    root = make_mfnet(tmp_path)
    (root / "train.txt").write_text("00001D\n00009D\n")
    write(root / "images" / "00001D.png", np.zeros((*SIZE, 3), np.uint8))
    report = check_dataset(open_dataset("auto", root, "train", strict=False))
    assert report.unpaired == ("00009D: not in images, labels",)
    assert "expected four channels of 8 bits" in report.unreadable[0]


def test_blank_pictures_are_named_but_no_fault(tmp_path: Path) -> None:
    root = make_plain(tmp_path)
    write(root / "infrared" / "a.png", np.full(SIZE, 9, np.uint8))
    report = check_dataset(open_dataset("auto", root, strict=False))
    assert report.blank == ["a"]
    assert report.sound
    assert report.alignment.measured == 1


def test_a_picture_that_is_in_both_splits_is_named(tmp_path: Path) -> None:
    root = make_fmb(tmp_path)
    assert check_dataset(open_dataset("auto", root, strict=False)).repeated == []
    shutil.copy(root / "train/Visible/00002.png", root / "test/Visible/00005.png")
    report = check_dataset(open_dataset("auto", root, strict=False))
    assert report.repeated == ["test/00005 is the same picture as train/00002"]
    assert report.sound


def test_a_limit_reads_evenly_spread_pairs(tmp_path: Path) -> None:
    steps: list[int] = []
    dataset = open_dataset("auto", make_fmb(tmp_path), strict=False)
    report = check_dataset(dataset, limit=2, progress=steps.append)
    assert (report.pairs, report.read, report.splits) == (5, 2, {"train": 1, "test": 1})
    assert steps == [1, 1]
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(3, None) == spread(3, 9) == [0, 1, 2]
    assert spread(5, 1) == [0]


def test_alignment_is_reported_in_pixels_with_its_direction() -> None:
    found = measured(
        *(street((0, 0), seed) for seed in range(3)),
        *(street((6, -3), seed) for seed in range(3, 5)),
    )
    assert (found.measured, found.conclusive) == (5, 5)
    assert found.median_px == pytest.approx(0.0, abs=0.3)
    assert found.off_share == 0.4
    assert [px for _, px in found.worst] == pytest.approx([45**0.5] * 2, abs=0.4)
    result = measured(street((6, -3)))
    assert (result.right_px, result.down_px) == pytest.approx((6, -3), abs=0.3)


def test_pairs_without_common_edges_or_too_small_are_inconclusive() -> None:
    other = street((0, 0), 8)
    tiny = np.zeros((8, 8, 3), np.uint8)
    found = measured(
        Sample(street((0, 0), 7).rgb, other.thermal, None, "two places"),
        Sample(tiny, tiny[..., 0], None, "tiny"),
    )
    assert (found.measured, found.conclusive, found.median_px) == (2, 0, None)


def test_the_sheet_shows_what_can_be_read(tmp_path: Path) -> None:
    root = make_fmb(tmp_path)
    dataset = open_dataset("auto", root)
    sheet = draw_sheet(dataset, pairs=2, pane_width=64)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] > 4 * 64
    taller = draw_sheet(dataset, pairs=4, pane_width=64)
    assert taller.shape[0] - sheet.shape[0] == 2 * (SIZE[0] + 10)
    for path in (root / "train" / "Visible").glob("*.png"):
        path.write_bytes(b"")
    assert draw_sheet(dataset, pairs=5, pane_width=64).shape[0] == sheet.shape[0]
    for path in (root / "test" / "Visible").glob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"no pair can be drawn: .*png: 0 bytes are no PNG"):
        draw_sheet(dataset)


@pytest.mark.data
def test_the_misregistered_pairs_are_seen_to_be_off(shared_data: Path) -> None:
    off = check_dataset(open_dataset("auto", shared_data / "misregistered", strict=False))
    assert off.alignment.conclusive >= 6
    assert off.alignment.off_share == 1.0
    good = check_dataset(open_dataset("auto", shared_data / "m3svd_frames", strict=False), limit=10)
    assert good.alignment.conclusive >= 9
    assert good.alignment.off_share == 0.0
    assert good.alignment.median_px is not None
    assert good.alignment.median_px < 1.0
