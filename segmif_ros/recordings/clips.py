# SPDX-License-Identifier: Apache-2.0
"""Recorded pairs of cameras as stamped images: two video files, or a folder of picture pairs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8
from segmif_ros.images.pictures import (
    PictureError,
    find_pictures,
    read_labels,
    read_rgb,
    read_thermal,
)

Read = TypeVar("Read")
Camera = Literal["rgb", "thermal", "labels"]

_COLOUR_DIFFERENCE = 12.0
"""Mean spread between colour channels above which a thermal clip is taken as false colour."""

_FASTEST_HZ = 1000.0


class ClipError(ValueError):
    """A clip or folder cannot be used; the message names it and the next step."""


class StampedImage(NamedTuple):
    """One camera image with its time since the start of the recording.

    Attributes:
        camera: "rgb" (HxWx3 uint8), "thermal" (HxW uint8, uint16 or float32) or "labels"
            (HxW uint8 ids).
        time_ns: nanoseconds since the first frame.
        image: the pixels.
    """

    camera: Camera
    time_ns: int
    image: NDArray[Any]


class PairSource(Protocol):
    """Stamped images of both cameras in time order."""

    @property
    def frames(self) -> int:
        """Number of images that iterating yields."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know: frames left out, sizes that differ."""
        ...

    def __iter__(self) -> Iterator[StampedImage]:
        """Yield the images; can be repeated.

        Raises:
            ClipError: a picture turns out to be unreadable.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Clip:
    path: Path
    times_ns: tuple[int, ...]
    size: tuple[int, int]
    period_ns: int

    @property
    def end_ns(self) -> int:
        return self.times_ns[-1] + self.period_ns


class VideoPair:
    """Two video files recorded at the same time; each frame keeps its own file's time stamp."""

    def __init__(self, visible: Path, thermal: Path, *, limit: int | None = None) -> None:
        """Read both clips through once, so that their common part is known before any use.

        Args:
            visible: colour video.
            thermal: thermal video, grey or false colour.
            limit: at most this many RGB frames.

        Raises:
            ClipError: a file is missing, no video, empty, or tells no frame rate.
        """
        notes: list[str] = []
        self._rgb = _probe(visible, "visible", notes)
        self._thermal = _probe(thermal, "thermal", notes)
        end = min(self._rgb.end_ns, self._thermal.end_ns)
        if limit is not None and limit < len(self._rgb.times_ns):
            end = min(end, self._rgb.times_ns[limit])
        self._rgb_times = tuple(t for t in self._rgb.times_ns if t < end)
        self._thermal_times = tuple(t for t in self._thermal.times_ns if t < end)
        if limit is None:
            notes.extend(self._left_over())
        if self._rgb.size != self._thermal.size:
            notes.append(
                f"sizes differ: visible {_by(self._rgb.size)}, thermal {_by(self._thermal.size)}; "
                "the node scales the thermal image, or give it a calibration"
            )
        if _is_coloured(thermal):
            notes.append(f"{thermal.name} is in false colour; its brightness is used as thermal")
        self.notes: tuple[str, ...] = tuple(notes)

    @property
    def frames(self) -> int:
        """Number of images of both cameras together."""
        return len(self._rgb_times) + len(self._thermal_times)

    def __iter__(self) -> Iterator[StampedImage]:
        """Yield frames of both clips in time order, thermal first at equal times."""
        rgb = _frames(self._rgb.path, self._rgb_times)
        thermal = _frames(self._thermal.path, self._thermal_times)
        next_rgb, next_thermal = next(rgb, None), next(thermal, None)
        while next_rgb is not None or next_thermal is not None:
            if next_rgb is None or (next_thermal is not None and next_thermal[0] <= next_rgb[0]):
                assert next_thermal is not None
                time_ns, image = next_thermal
                grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
                yield StampedImage("thermal", time_ns, grey)
                next_thermal = next(thermal, None)
            else:
                time_ns, image = next_rgb
                yield StampedImage("rgb", time_ns, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
                next_rgb = next(rgb, None)

    def _left_over(self) -> Iterator[str]:
        for clip, used in ((self._rgb, self._rgb_times), (self._thermal, self._thermal_times)):
            left = len(clip.times_ns) - len(used)
            if left:
                yield (
                    f"clips of different length: the last {left} of {len(clip.times_ns)} frames "
                    f"of {clip.path.name} have no counterpart and were left out"
                )


class FolderPairs:
    """A folder with visible/ and infrared/, whose files of the same name belong together."""

    def __init__(
        self,
        folder: Path,
        *,
        rate_hz: float = 10.0,
        labels: Path | None = None,
        limit: int | None = None,
    ) -> None:
        """Match the files by name without extension (subfolders count as part of the name).

        Args:
            folder: holds visible/ and infrared/.
            rate_hz: pictures a second that the stamps pretend.
            labels: folder of label pictures (8-bit class ids), matched the same way.
            limit: at most this many pairs, taken evenly over the folder.

        Raises:
            ClipError: a folder is missing, nothing matches, or the rate is out of range.
        """
        if not 0 < rate_hz <= _FASTEST_HZ:
            raise ClipError(f"rate is {rate_hz} Hz; give a rate above 0 and up to {_FASTEST_HZ:g}")
        visible = _picture(find_pictures, folder / "visible")
        infrared = _picture(find_pictures, folder / "infrared")
        marked = _picture(find_pictures, labels) if labels else {}
        names = sorted(visible.keys() & infrared.keys())
        if not names:
            raise ClipError(
                f"no picture in {folder / 'visible'} has the name of one in {folder / 'infrared'} "
                f"({len(visible)} and {len(infrared)} pictures); name both the same"
            )
        notes = [
            _unpaired(folder / side, sorted(mine.keys() - other.keys()))
            for side, mine, other in (
                ("visible", visible, infrared),
                ("infrared", infrared, visible),
            )
            if mine.keys() - other.keys()
        ]
        if labels and (unlabelled := [name for name in names if name not in marked]):
            notes.append(f"{len(unlabelled)} of {len(names)} pairs have no picture in {labels}")
        if limit is not None and limit < len(names):
            picked = np.linspace(0, len(names) - 1, limit).round().astype(int)
            notes.append(f"{limit} of {len(names)} pairs taken, evenly spaced")
            names = [names[index] for index in picked]
        self.notes: tuple[str, ...] = tuple(notes)
        self._period_ns = round(1e9 / rate_hz)
        self._names = names
        self._visible, self._infrared, self._labels = visible, infrared, marked

    @property
    def frames(self) -> int:
        """Number of images of both cameras and the labels together."""
        return 2 * len(self._names) + sum(name in self._labels for name in self._names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pairs in order, without extension."""
        return tuple(self._names)

    def pair(self, index: int) -> tuple[Image8, NDArray[Any]]:
        """Return the RGB (HxWx3 uint8) and the thermal picture (HxW) of one pair.

        Raises:
            ClipError: a picture turns out to be unreadable.
        """
        name = self._names[index]
        rgb = _picture(read_rgb, self._visible[name])
        return rgb, _picture(read_thermal, self._infrared[name])

    def __iter__(self) -> Iterator[StampedImage]:
        """Yield thermal, RGB and, if there is one, labels of each pair with equal stamps."""
        for index, name in enumerate(self._names):
            time_ns = index * self._period_ns
            yield StampedImage("thermal", time_ns, _picture(read_thermal, self._infrared[name]))
            yield StampedImage("rgb", time_ns, _picture(read_rgb, self._visible[name]))
            if name in self._labels:
                yield StampedImage("labels", time_ns, _picture(read_labels, self._labels[name]))


def _picture(read: Callable[[Path], Read], path: Path) -> Read:
    try:
        return read(path)
    except PictureError as err:
        raise ClipError(str(err)) from err


def _unpaired(folder: Path, names: Sequence[str]) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} pictures in {folder} have no counterpart and were left out: {shown}"


def _open(path: Path, role: str) -> cv2.VideoCapture:
    if not path.is_file():
        raise ClipError(f"{role} video {str(path)!r} does not exist; check the path")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise ClipError(
            f"{role} video {str(path)!r} cannot be opened ({path.stat().st_size} bytes); "
            "it is damaged or no video: copy it again or convert it to H.264 mp4"
        )
    return capture


def _probe(path: Path, role: str, notes: list[str]) -> _Clip:
    """Decode a clip once: only that tells how many frames it really has, and their times."""
    capture = _open(path, role)
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        size = (
            int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        )
        times: list[int] = []
        while capture.grab():
            times.append(round(1e6 * capture.get(cv2.CAP_PROP_POS_MSEC)))
    finally:
        capture.release()
    if not times:
        raise ClipError(f"{role} video {str(path)!r} holds no readable frame; copy it again")
    if 0 < len(times) < declared:
        notes.append(f"{path.name} says {declared} frames, only {len(times)} can be read")
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        if not rate > 0:
            raise ClipError(
                f"{role} video {str(path)!r} has neither time stamps nor a frame rate; "
                "convert it to mp4 with a constant rate"
            )
        notes.append(f"{path.name} has no increasing time stamps; its {rate:g} fps are used")
        times = [round(index * 1e9 / rate) for index in range(len(times))]
    period = times[-1] // (len(times) - 1) if len(times) > 1 else round(1e9 / max(rate, 1.0))
    return _Clip(path, tuple(times), size, period)


def _frames(path: Path, times_ns: Sequence[int]) -> Iterator[tuple[int, Image8]]:
    capture = _open(path, "input")
    try:
        for time_ns in times_ns:
            ok, image = capture.read()
            if not ok:
                raise ClipError(f"{path}: no frame at {time_ns / 1e9:.2f} s any more; read again")
            yield time_ns, np.asarray(image, np.uint8)
    finally:
        capture.release()


def _is_coloured(path: Path) -> bool:
    capture = _open(path, "thermal")
    ok, image = capture.read()
    capture.release()
    if not ok or image.ndim != 3:
        return False
    spread = image.max(axis=2).astype(np.float32) - image.min(axis=2)
    return float(spread.mean()) > _COLOUR_DIFFERENCE


def _by(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
