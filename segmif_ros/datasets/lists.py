# SPDX-License-Identifier: Apache-2.0
"""Lists of names that say which pairs belong to a split."""

from __future__ import annotations

from pathlib import Path

from segmif_ros.datasets.sample import DatasetError
from segmif_ros.images.pictures import SUFFIXES


def listed(listing: Path) -> list[str]:
    """Return the names in a list, a name a line, without the suffix of a picture.

    Raises:
        DatasetError: missing, or no text.
    """
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise DatasetError(
            f"{listing} is missing or no text; the split list belongs to the data set"
        ) from err
    names = [line.strip() for line in lines if line.strip()]
    return [
        str(Path(name).with_suffix("")) if Path(name).suffix.lower() in SUFFIXES else name
        for name in names
    ]
