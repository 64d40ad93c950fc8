# SPDX-License-Identifier: Apache-2.0
"""Picture files of users, read by the same rules for every verb.

A visible picture has 8 or 16 bits a channel; a thermal one has 8 bits, 16 bits without a sign, or
floats of which one at least is finite, as the node takes them; labels are ids. Marks of orientation
are ignored: they would turn a picture away from the other camera's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.files import read_file
from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.images.containers import decoded, inspect
from segmif_ros.images.raw import ImageRefused

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})

_MOST_BYTES = 512 << 20
_AS_STORED = cv2.IMREAD_UNCHANGED
_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
_THERMAL = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


_COLOUR_DIFFERENCE = 8.0
"""Mean spread between colour channels above which a picture is in colour: the first frames of four
M3SVD clips have 10.8 to 38.5 where visible and 3.0 where thermal."""


class PictureError(ValueError):
    """A file that is no picture, or none of the wanted kind; the message names it."""


def find_pictures(folder: Path) -> dict[str, Path]:
    """Return the picture files under a folder, at any depth, by relative path without suffix.

    Raises:
        PictureError: no such folder, or two pictures of one name.
    """
    if not folder.is_dir():
        raise PictureError(f"{folder} is not a folder; pairs lie in visible/ and infrared/")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise PictureError(f"{found[name]} and {path} have the same name; keep one of them")
            found[name] = path
    return found


def read_rgb(path: Path) -> Image8:
    """Read a visible picture as HxWx3 uint8 RGB; grey is repeated, transparency dropped.

    Raises:
        PictureError: missing, damaged, or neither 8 nor 16 bits.
    """
    return np.asarray(cv2.cvtColor(read_bgr(path), cv2.COLOR_BGR2RGB), np.uint8)


def read_thermal(path: Path) -> ThermalImage:
    """Read a thermal picture as HxW uint8, uint16 or float32; colour is turned into brightness.

    Raises:
        PictureError: missing, damaged, values of another type, or none that is finite.
    """
    return checked_thermal(_read(path, _THERMAL), str(path))


def checked_thermal(image: NDArray[Any], source: str) -> ThermalImage:
    """Return a thermal picture if it has one of the types that the node takes.

    Args:
        image: HxW of any type.
        source: its name in messages.

    Raises:
        PictureError: values of another type, or none that is finite.
    """
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16, np.float32):
        raise PictureError(
            f"{source}: {image.dtype} of shape {image.shape}; a thermal picture has one channel of "
            "uint8, uint16 or float32, save it as one of these"
        )
    if image.dtype == np.float32 and not np.isfinite(image).any():
        raise PictureError(f"{source}: not one of its values is finite")
    return image


def read_grey(path: Path) -> Image8:
    """Read a picture as HxW uint8.

    Raises:
        PictureError: missing, damaged, or neither 8 nor 16 bits.
    """
    return np.asarray(_read(path, _GREY, most_bits=16), np.uint8)


def read_unchanged(path: Path) -> NDArray[Any]:
    """Read a picture as it is stored, colour as B, G, R.

    Raises:
        PictureError: missing, or no picture.
    """
    return _read(path, _AS_STORED)


def read_bgr(path: Path) -> Image8:
    """Read a picture as HxWx3 uint8 in the order B, G, R.

    Raises:
        PictureError: missing, damaged, or neither 8 nor 16 bits.
    """
    return np.asarray(_read(path, _COLOUR, most_bits=16), np.uint8)


def read_labels(path: Path) -> Image8:
    """Read a label picture as HxW uint8 class ids.

    Raises:
        PictureError: missing, damaged, or not one 8-bit channel.
    """
    image = read_unchanged(path)
    if image.dtype != np.uint8 or image.ndim != 2:
        raise PictureError(
            f"{path}: {image.dtype} of shape {image.shape}; labels are one channel of 8-bit ids"
        )
    return np.asarray(image, np.uint8)


def decode_picture(content: bytes, flags: int, source: str, *, most_bits: int = 64) -> NDArray[Any]:
    """Decode the bytes of a picture file.

    Args:
        content: its bytes.
        flags: of `cv2.imdecode`.
        source: its name in messages.
        most_bits: of one channel.

    Raises:
        PictureError: no picture, damaged, of more bits, or implausibly large.
    """
    try:
        found = inspect(content, files=True)
        if found.bits > most_bits:
            raise PictureError(f"{source}: {found.bits} bits a channel, expected 8 or 16")
        return decoded(found, flags)
    except ImageRefused as err:
        raise PictureError(f"{source}: {err}") from err


def _read(path: Path, flags: int, *, most_bits: int = 64) -> NDArray[Any]:
    try:
        content = read_file(path, _MOST_BYTES)
    except OSError as err:
        raise PictureError(f"{path}: cannot be read ({err})") from err
    if len(content) > _MOST_BYTES:
        raise PictureError(f"{path}: more than {_MOST_BYTES >> 20} MiB, which no picture has")
    return decode_picture(content, flags, str(path), most_bits=most_bits)


def is_coloured(image: NDArray[Any]) -> bool:
    """Return whether a picture (HxW, HxWx3 or HxWx4) shows colour, and not grey in channels."""
    if image.ndim != 3:
        return False
    spread = image[..., :3].max(axis=2).astype(np.float32) - image[..., :3].min(axis=2)
    return float(spread.mean()) > _COLOUR_DIFFERENCE


def swap_notes(rgb: NDArray[Any], thermal: NDArray[Any], names: tuple[str, str]) -> list[str]:
    """Return a line if two pictures look as if the cameras were given in the wrong order.

    Args:
        rgb: picture given as visible, as recorded.
        thermal: picture given as thermal, as recorded.
        names: what the user calls the two.
    """
    if is_coloured(rgb) or not is_coloured(thermal):
        return []
    return [f"{names[0]} is grey and {names[1]} is in colour: are RGB and thermal swapped?"]


def encode_picture(image: NDArray[Any], suffix: str, options: Sequence[int] = ()) -> bytes:
    """Return the content of a picture file.

    Args:
        image: HxW, or HxWx3 RGB, of a type that the format holds.
        suffix: ".png", ".jpg" or another that OpenCV writes.
        options: as of `cv2.imencode`.

    Raises:
        PictureError: OpenCV writes no such picture.
    """
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    try:
        done, coded = cv2.imencode(suffix, bgr, options)
    except cv2.error:
        done = False
    if not done:
        raise PictureError(f"OpenCV {cv2.__version__} writes no {image.shape} {suffix or 'file'}")
    return bytes(coded.tobytes())
