# SPDX-License-Identifier: Apache-2.0
"""Small data sets on disk, in the layouts of the published ones, with pixels known in advance."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (48, 64)


def rgb_of(number: int) -> NDArray[np.uint8]:
    """HxWx3: red says which pair, green rises to the right, blue downwards."""
    picture = np.empty((*SIZE, 3), np.uint8)
    picture[..., 0] = 10 * number + 5
    picture[..., 1] = np.arange(SIZE[1]) * 3
    picture[..., 2] = np.arange(SIZE[0])[:, None] * 4
    return picture


def thermal_of(number: int) -> NDArray[np.uint8]:
    """HxW: falls to the right."""
    return np.tile((200 + number - np.arange(SIZE[1])).astype(np.uint8), (SIZE[0], 1))


def labels_of(number: int, classes: int) -> NDArray[np.uint8]:
    """HxW: stripes of all classes, shifted by the number of the pair."""
    return np.tile(((np.arange(SIZE[1]) + number) % classes).astype(np.uint8), (SIZE[0], 1))


def write(path: Path, picture: NDArray[Any]) -> None:
    """Write a picture; three channels are RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = cv2.imwrite(str(path), picture[..., ::-1] if picture.ndim == 3 else picture)
    assert done, path


def make_folders(
    root: Path,
    names: tuple[str, str, str],
    splits: dict[str, Sequence[str]],
    classes: int,
) -> Path:
    """Three folders in each split ("" for none), the pairs numbered through."""
    number = 0
    for split, stems in splits.items():
        for stem in stems:
            write(root / split / names[0] / f"{stem}.png", rgb_of(number))
            write(root / split / names[1] / f"{stem}.png", thermal_of(number))
            write(root / split / names[2] / f"{stem}.png", labels_of(number, classes))
            number += 1
    return root


def make_fmb(root: Path) -> Path:
    """FMB: three pairs for training, two for testing; infrared in three channels, and `color`."""
    splits = {"train": ("00001", "00002", "00003"), "test": ("00004", "00005")}
    make_folders(root, ("Visible", "Infrared", "Label"), splits, 15)
    for split, stems in splits.items():
        for stem in stems:
            path = root / split / "Infrared" / f"{stem}.png"
            grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            write(path, np.repeat(grey[..., None], 3, axis=2))
            write(root / split / "color" / f"{stem}.png", rgb_of(0))
    return root


def make_msrs(root: Path) -> Path:
    """MSRS as released: two pairs for training, two for testing, day and night."""
    splits = {"train": ("00001D", "00002N"), "test": ("00003D", "00004N")}
    return make_folders(root, ("vi", "ir", "Segmentation_labels"), splits, 9)


def make_pst900(root: Path) -> Path:
    """PST900: two pairs for training, one for testing, with folders that are not read."""
    splits = {"train": ("1_bag21_rect_rgb_frame07", "31_bag1a_rect"), "test": ("77_bag2",)}
    make_folders(root, ("rgb", "thermal", "labels"), splits, 5)
    write(root / "train" / "depth" / "31_bag1a_rect.png", np.zeros(SIZE, np.uint16))
    return root


def make_mfnet(root: Path) -> Path:
    """MFNet: four pictures of four channels, and lists."""
    stems = ("00001D", "00002D", "00003N", "00003N_flip")
    for number, stem in enumerate(stems):
        four = np.dstack([rgb_of(number)[..., ::-1], thermal_of(number)])
        (root / "images").mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(root / "images" / f"{stem}.png"), four)
        write(root / "labels" / f"{stem}.png", labels_of(number, 9))
    (root / "train.txt").write_text("00001D\n00003N\n00003N_flip\n")
    (root / "val.txt").write_text("00002D.png\n\n")
    (root / "test_night.txt").write_text("00003N\n")
    return root


def make_plain(root: Path, *, labels: bool = True) -> Path:
    """visible/, infrared/ and labels/ with FMB's ids, one pair in a subfolder."""
    make_folders(root, ("visible", "infrared", "labels"), {"": ("a", "night/b")}, 15)
    if not labels:
        for path in (root / "labels").rglob("*.png"):
            path.unlink()
    return root


def write_palette_png(
    path: Path, ids: NDArray[np.uint8], palette: Sequence[Sequence[int]], padded: int = 0
) -> None:
    """Write ids as a palette picture, filled up with so many black places."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = ids.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in ids)
    colours = b"".join(bytes(colour) for colour in palette) + bytes(3 * padded)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"PLTE", colours)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
