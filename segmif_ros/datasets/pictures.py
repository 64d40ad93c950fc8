# SPDX-License-Identifier: Apache-2.0
"""Picture files, read as the arrays that the network sees."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from segmif_ros.datasets.sample import DatasetError
from segmif_ros.frames import Image8


def images(folder: Path) -> dict[str, Path]:
    """Return the picture files under a folder, at any depth, by relative path without suffix.

    Raises:
        DatasetError: no such folder.
    """
    if not folder.is_dir():
        raise DatasetError(f"folder {folder} is missing")
    suffixes = {".png", ".jpg", ".jpeg", ".bmp"}
    return {
        str(path.relative_to(folder).with_suffix("")): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes
    }


def read_rgb(path: Path) -> Image8:
    """Read a picture as HxWx3 uint8 RGB.

    Raises:
        DatasetError: missing, or no picture.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DatasetError(f"{path} is missing or no picture")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_grey(path: Path) -> Image8:
    """Read a picture as HxW uint8.

    Raises:
        DatasetError: missing, or no picture.
    """
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DatasetError(f"{path} is missing or no picture")
    return np.asarray(image, np.uint8)
