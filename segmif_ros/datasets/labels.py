# SPDX-License-Identifier: Apache-2.0
"""Label pictures as ids of the requested class list."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.datasets.classes import ClassList, load_class_list
from segmif_ros.datasets.sample import IGNORE, DatasetError, of_dataset
from segmif_ros.files import read_file
from segmif_ros.frames import Image8
from segmif_ros.images.containers import PNG_SIGNATURE
from segmif_ros.images.pictures import JPEG_SUFFIXES, read_bgr, read_unchanged

_INDEXED = 3
"""PNG colour type of pictures with palette indices."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelReading:
    """Conversion of the labels of one data set to ids.

    Attributes:
        own: class list that the data set was annotated with.
        wanted: class list of the result.
        table: 256 ids that translate `own` to `wanted`.
        strict: refuse ids that `own` does not have; otherwise they stay as they are.
    """

    own: ClassList
    wanted: ClassList
    table: Image8
    strict: bool = True

    @classmethod
    def of(
        cls, own: str, wanted: str | None, ignore: Collection[int] = (), *, strict: bool = True
    ) -> LabelReading:
        """Look up both class lists.

        Args:
            own: class list that the data set was annotated with.
            wanted: class list of the result, `own` if None.
            ignore: ids of `wanted` that become 255.
            strict: see the class.

        Raises:
            DatasetError: no such list, or no translation between the two is defined.
        """
        try:
            source = load_class_list(own)
            result = source if wanted is None else load_class_list(wanted)
            table = source.truth_table(result.name)
        except (OSError, ValueError) as err:
            raise DatasetError(str(err)) from err
        return cls(
            source,
            result,
            np.where(np.isin(table, list(ignore)), np.uint8(IGNORE), table),
            strict,
        )

    def read(self, path: Path) -> Image8:
        """Read a label picture: ids, palette indices, or the colours of the class list.

        Returns:
            HxW uint8 ids of `wanted`.

        Raises:
            DatasetError: missing, damaged, or with ids or colours that are not in the class list.
        """
        return self.translate(_indices(path, self.own), str(path))

    def translate(self, labels: Image8, where: str) -> Image8:
        """Turn HxW uint8 ids of `own` into ids of `wanted`; `where` is for the message.

        Raises:
            DatasetError: ids that are not in the class list.
        """
        unknown = self.own.unknown_ids(labels) if self.strict else ()
        if unknown:
            raise DatasetError(
                f"{where} holds id {', '.join(map(str, unknown[:4]))}, which class list "
                f"{self.own.name!r} has not (0 to {len(self.own.classes) - 1}); is this another "
                "data set's labels?"
            )
        return self.table[labels]


def _indices(path: Path, own: ClassList) -> Image8:
    if path.suffix.lower() in JPEG_SUFFIXES:
        raise DatasetError(
            f"{path}: JPEG changes ids where two classes meet; take the labels as PNG"
        )
    palette = _png_palette(path)
    image = of_dataset(read_unchanged if palette is None else read_bgr, path)
    if image.ndim == 3:
        colours = np.asarray(image[..., 2::-1], np.uint8)
        if palette is not None:
            return _from_colours(colours, palette, path)
        if np.all(colours == colours[..., :1]):
            return _from_grey(np.ascontiguousarray(colours[..., 0]), own, path)
        own_colours = np.array([label.color for label in own.classes], np.uint8)
        return _from_colours(colours, own_colours, path)
    if image.dtype not in (np.uint8, np.uint16):
        raise DatasetError(f"{path} holds {image.dtype}, expected ids of 8 or 16 bits")
    if int(image.max()) > IGNORE:
        raise DatasetError(f"{path} holds id {int(image.max())}, expected 0 to {IGNORE}")
    return np.asarray(image, np.uint8)


def _from_grey(values: Image8, own: ClassList, path: Path) -> Image8:
    """Ids from three equal channels, unless these may be grey colours of classes."""
    greys = {c.color[0]: c.id for c in own.classes if len(set(c.color)) == 1}
    present = set(np.unique(values).tolist())
    if present <= greys.keys() and any(greys[value] != value for value in present):
        raise DatasetError(
            f"{path} holds {', '.join(map(str, sorted(present)))} in three equal channels: ids of "
            f"{own.name!r}, or colours of its classes? Save the ids as a grey picture"
        )
    return values


def _from_colours(colours: Image8, palette: NDArray[Any], path: Path) -> Image8:
    """Ids from an HxWx3 RGB picture and the colour of every id; the first of equal colours."""
    codes = _codes(colours)
    known, first = np.unique(_codes(palette), return_index=True)
    place = np.searchsorted(known, codes).clip(max=len(known) - 1)
    foreign = known[place] != codes
    if foreign.any():
        red, green, blue = colours[foreign][0]
        raise DatasetError(
            f"{path} is a colour picture with colour ({red}, {green}, {blue}) in "
            f"{foreign.mean():.0%} of it, which no class has; expected a picture of ids"
        )
    return np.asarray(first[place], np.uint8)


def _codes(colours: NDArray[Any]) -> NDArray[np.int64]:
    wide = colours.astype(np.int64)
    return np.asarray(wide[..., 0] * 65536 + wide[..., 1] * 256 + wide[..., 2], np.int64)


def _png_palette(path: Path) -> NDArray[np.uint8] | None:
    """Nx3 RGB palette of an indexed PNG, which OpenCV decodes to colours."""
    try:
        content = read_file(path)
    except OSError as err:
        raise DatasetError(f"{path} cannot be read: {err.strerror or err}") from err
    if not content.startswith(PNG_SIGNATURE) or len(content) < 33 or content[25] != _INDEXED:
        return None
    at = len(PNG_SIGNATURE)
    while at + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        if content[at + 4 : at + 8] == b"PLTE":
            palette = np.frombuffer(content[at + 8 : at + 8 + length], np.uint8)
            return _unambiguous(palette[: len(palette) // 3 * 3].reshape(-1, 3), path)
        at += 12 + length
    return None


def _unambiguous(palette: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    if not len(palette):
        raise DatasetError(f"{path} is a palette picture without a palette; it is damaged")
    codes = _codes(palette)
    # Programs pad a palette with one colour at its end; these indices are not used.
    filled = int(np.argmax(codes[::-1] != codes[-1])) or len(codes)
    own = codes[:-filled] if filled > 1 else codes
    if len(np.unique(own)) < len(own):
        raise DatasetError(
            f"{path} is a palette picture in which several ids have one colour; save the ids "
            "as a grey picture"
        )
    return palette
