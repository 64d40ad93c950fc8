# SPDX-License-Identifier: Apache-2.0
"""Picture files: one rule for types and damage in all readers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.images.pictures import (
    PictureError,
    find_pictures,
    is_coloured,
    read_grey,
    read_labels,
    read_rgb,
    read_thermal,
    swap_notes,
)

COLOUR = np.full((12, 16, 3), (10, 100, 200), np.uint8)
GREY = np.full((12, 16), 77, np.uint8)


def stored(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def test_pictures_are_read_in_the_form_the_node_gets(tmp_path: Path) -> None:
    assert read_rgb(stored(tmp_path / "c.png", COLOUR))[0, 0].tolist() == [200, 100, 10]
    with_alpha = stored(tmp_path / "a.png", np.dstack([COLOUR, GREY]))
    assert read_rgb(with_alpha)[0, 0].tolist() == [200, 100, 10]
    grey = stored(tmp_path / "g.png", GREY)
    assert read_rgb(grey)[0, 0].tolist() == [77, 77, 77]
    assert read_labels(grey)[0, 0] == 77
    deep = stored(tmp_path / "deep.png", COLOUR.astype(np.uint16) * 257)
    assert read_rgb(deep)[0, 0].tolist() == [200, 100, 10]
    assert read_thermal(stored(tmp_path / "ct.png", COLOUR)).shape == (12, 16)
    assert read_grey(deep).dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_thermal_values_come_as_they_are(tmp_path: Path, dtype: type) -> None:
    values = np.arange(192, dtype=dtype).reshape(12, 16)
    found = read_thermal(stored(tmp_path / "t.tiff", values))
    np.testing.assert_array_equal(found, values)
    assert found.dtype == dtype


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32, np.float64])
def test_thermal_values_that_no_camera_sends_are_refused_with_the_file(
    tmp_path: Path, dtype: type
) -> None:
    path = tmp_path / "odd.tiff"
    try:
        stored(path, np.ones((12, 16), dtype))
    except cv2.error:
        pytest.skip("this OpenCV does not write it")
    with pytest.raises(PictureError, match=r"odd\.tiff"):
        read_thermal(path)


def test_a_float_picture_of_no_values_is_refused(tmp_path: Path) -> None:
    values = np.full((12, 16), np.nan, np.float32)
    with pytest.raises(PictureError, match=r"t\.tiff: not one of its values is finite"):
        read_thermal(stored(tmp_path / "t.tiff", values))
    values[3, 4] = 20.0
    assert read_thermal(stored(tmp_path / "t.tiff", values))[3, 4] == 20.0


@pytest.mark.parametrize(
    "packing", [cv2.IMWRITE_TIFF_COMPRESSION_NONE, cv2.IMWRITE_TIFF_COMPRESSION_SGILOG]
)
def test_a_visible_picture_of_floats_is_refused(tmp_path: Path, packing: int) -> None:
    path = tmp_path / "f.tiff"
    options = (cv2.IMWRITE_TIFF_COMPRESSION, packing)
    assert cv2.imwrite(str(path), COLOUR.astype(np.float32), options)
    with pytest.raises(PictureError, match="32 bits a channel"):
        read_rgb(path)


def test_more_bytes_than_a_picture_has_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmif_ros.images.pictures._MOST_BYTES", 1 << 20)
    (tmp_path / "film.png").write_bytes(bytes(2 << 20))
    with pytest.raises(PictureError, match=r"film\.png: more than 1 MiB"):
        read_rgb(tmp_path / "film.png")


@pytest.mark.parametrize("alpha", [0, 255])
def test_grey_with_transparency_shows_no_colour(alpha: int) -> None:
    grey = np.full((12, 16, 4), 77, np.uint8)
    grey[..., 3] = alpha
    assert not is_coloured(grey)
    grey[..., 0] = 177
    assert is_coloured(grey)


@pytest.mark.parametrize("reader", [read_rgb, read_thermal, read_labels, read_grey])
def test_damaged_and_missing_pictures_are_named(tmp_path: Path, reader) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    cut = stored(
        tmp_path / "cut.jpg", np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8)
    )
    cut.write_bytes(cut.read_bytes()[:-900])
    assert cv2.imread(str(cut)) is not None, "OpenCV is silent"
    for name in ("bad.png", "empty.png", "cut.jpg", "folder.png", "none.png", "n" * 400):
        with pytest.raises(PictureError) as caught:
            reader(tmp_path / name)
        assert name in str(caught.value)


def test_labels_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="one channel of 8-bit ids"):
        read_labels(stored(tmp_path / "colour.png", COLOUR))
    with pytest.raises(PictureError, match="uint16 of shape"):
        read_labels(stored(tmp_path / "deep.png", GREY.astype(np.uint16)))


def test_marks_of_orientation_turn_nothing(tmp_path: Path) -> None:
    path = stored(tmp_path / "turned.jpg", np.zeros((20, 40, 3), np.uint8))
    content = path.read_bytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    path.write_bytes(content[:2] + b"\xff\xe1\0" + bytes([len(exif) + 2]) + exif + content[2:])
    assert cv2.imread(str(path)).shape == (40, 20, 3)
    assert read_rgb(path).shape == (20, 40, 3)
    assert read_thermal(path).shape == (20, 40)


def test_pictures_of_a_folder_by_name(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "odd.png").mkdir()
    stored(tmp_path / "day" / "a.png", GREY)
    (tmp_path / "notes.txt").write_text("")
    assert list(find_pictures(tmp_path)) == ["day/a"]
    stored(tmp_path / "day" / "a.jpg", GREY)
    with pytest.raises(PictureError, match="have the same name"):
        find_pictures(tmp_path)
    with pytest.raises(PictureError, match="is not a folder"):
        find_pictures(tmp_path / "night")


def test_a_grey_rgb_beside_a_coloured_thermal_picture_is_a_swap() -> None:
    tinted = np.dstack([GREY, GREY + 1, GREY])
    assert is_coloured(COLOUR)
    assert not any(map(is_coloured, (GREY, tinted, np.dstack([GREY] * 3))))
    names = ("left", "right")
    assert swap_notes(GREY, COLOUR, names) == [
        "left is grey and right is in colour: are RGB and thermal swapped?"
    ]
    for rgb, thermal in ((COLOUR, GREY), (COLOUR, COLOUR), (GREY, GREY)):
        assert swap_notes(rgb, thermal, names) == []
