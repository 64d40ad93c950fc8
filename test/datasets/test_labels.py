# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_layouts import write, write_palette_png

from segmif_ros.datasets.classes import load_classes
from segmif_ros.datasets.labels import LabelReading
from segmif_ros.datasets.sample import DatasetError

IDS = np.array([[0, 1, 2, 3], [4, 5, 6, 8]], np.uint8)
PALETTE = [label.color for label in load_classes("mfnet9")]
FOREIGN = [(i, 200 - i, 7) for i in range(9)]


@pytest.fixture
def reading() -> LabelReading:
    return LabelReading.of("mfnet9", None)


@pytest.mark.parametrize("palette", [PALETTE, FOREIGN])
@pytest.mark.parametrize("padded", [0, 200])
def test_palette_pictures_give_their_ids_whatever_their_colours(
    palette: list[tuple[int, int, int]], padded: int, reading: LabelReading, tmp_path: Path
) -> None:
    write_palette_png(tmp_path / "a.png", IDS, palette, padded)
    assert np.array_equal(reading.read(tmp_path / "a.png"), IDS)


def test_a_palette_with_one_colour_for_two_ids_is_refused(
    reading: LabelReading, tmp_path: Path
) -> None:
    write_palette_png(tmp_path / "a.png", IDS, [*PALETTE[:7], PALETTE[2], PALETTE[8]])
    with pytest.raises(DatasetError, match="several ids have one colour"):
        reading.read(tmp_path / "a.png")


def test_a_palette_behind_long_text_is_found(reading: LabelReading, tmp_path: Path) -> None:
    write_palette_png(tmp_path / "a.png", IDS, FOREIGN)
    content = (tmp_path / "a.png").read_bytes()
    text = b"tEXtnote\0" + b"x" * 9000
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    (tmp_path / "a.png").write_bytes(content[:33] + chunk + content[33:])
    assert np.array_equal(reading.read(tmp_path / "a.png"), IDS)


def test_ids_in_three_equal_channels_or_16_bits_are_ids(
    reading: LabelReading, tmp_path: Path
) -> None:
    write(tmp_path / "three.png", np.repeat(IDS[..., None], 3, axis=2))
    write(tmp_path / "wide.png", IDS.astype(np.uint16))
    assert np.array_equal(reading.read(tmp_path / "three.png"), IDS)
    assert np.array_equal(reading.read(tmp_path / "wide.png"), IDS)
    write(tmp_path / "depth.png", IDS.astype(np.uint16) * 900)
    with pytest.raises(DatasetError, match="holds id 7200, expected 0 to 255"):
        reading.read(tmp_path / "depth.png")


def test_black_and_white_may_be_ids_or_colours_and_are_refused(tmp_path: Path) -> None:
    """PST900's background is black and its survivor white; white as an id would be ignored."""
    reading, path = LabelReading.of("pst900", None), tmp_path / "a.png"
    picture = np.zeros((4, 6, 3), np.uint8)
    write(path, picture)
    assert not reading.read(path).any()
    picture[1:3] = 255
    write(path, picture)
    with pytest.raises(DatasetError, match="0, 255 in three equal channels: ids of 'pst900', or"):
        reading.read(path)
    write(path, picture[..., 0])
    assert np.array_equal(reading.read(path), picture[..., 0])
    picture[0, 0] = (255, 0, 0)
    write(path, picture)
    assert reading.read(path)[:2, 0].tolist() == [1, 4]


def test_what_cannot_hold_ids_is_refused(reading: LabelReading, tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", IDS)
    with pytest.raises(DatasetError, match="JPEG changes ids where two classes meet"):
        reading.read(tmp_path / "a.jpg")
    write(tmp_path / "a.tiff", IDS.astype(np.float32) / 9.0)
    with pytest.raises(DatasetError, match="holds float32, expected ids of 8 or 16 bits"):
        reading.read(tmp_path / "a.tiff")


def test_colour_pictures_are_read_by_the_palette_of_the_list(
    reading: LabelReading, tmp_path: Path
) -> None:
    colours = np.array(PALETTE, np.uint8)[IDS]
    write(tmp_path / "a.png", colours)
    assert np.array_equal(reading.read(tmp_path / "a.png"), IDS)
    colours[0, 0] = (1, 2, 3)
    write(tmp_path / "a.png", colours)
    with pytest.raises(DatasetError, match=r"colour \(1, 2, 3\) in 12% of it"):
        reading.read(tmp_path / "a.png")


def test_unknown_ids_are_refused_or_kept(reading: LabelReading, tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.full((4, 4), 9, np.uint8))
    with pytest.raises(DatasetError, match="holds id 9, which class list 'mfnet9' has not"):
        reading.read(tmp_path / "a.png")
    loose = LabelReading.of("mfnet9", None, strict=False)
    assert loose.read(tmp_path / "a.png")[0, 0] == 9


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut"])
def test_damaged_files_are_named(damage: str, reading: LabelReading, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("no picture")
    elif damage == "cut":
        whole = cv2.imencode(".png", np.random.default_rng(0).integers(0, 9, (64, 64), np.uint8))[1]
        path.write_bytes(whole.tobytes()[:40])
    with pytest.raises(DatasetError, match=r"a\.png"):
        reading.read(path)


def test_lists_that_do_not_exist_are_named() -> None:
    with pytest.raises(DatasetError, match=r"nothing\.yaml"):
        LabelReading.of("nothing", None)
    with pytest.raises(DatasetError, match=r"nothing\.yaml"):
        LabelReading.of("fmb15", "nothing")
    with pytest.raises(DatasetError, match="'mfnet9' cannot be read as 'pst900'"):
        LabelReading.of("mfnet9", "pst900")
