# SPDX-License-Identifier: Apache-2.0
"""Stamped images of camera pairs from two video files or a folder of picture pairs."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.files import require_file
from segmif_ros.frames import Pair
from segmif_ros.images.pictures import (
    PictureError,
    find_pictures,
    is_coloured,
    read_labels,
    read_rgb,
    read_thermal,
    read_unchanged,
    swap_notes,
)
from segmif_ros.recordings.video import VideoError, declared, read_video

Read = TypeVar("Read")
Camera = Literal["rgb", "thermal", "labels"]

_FASTEST_HZ = 1000.0
_SAME_RATE = 0.05


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
        """Remarks for the user: frames left out, sizes that differ."""
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
    first: NDArray[Any]

    @property
    def end_ns(self) -> int:
        return self.times_ns[-1] + self.period_ns


class VideoPair:
    """Two video files recorded at the same time; each frame has the time stamp of its file."""

    def __init__(self, visible: Path, thermal: Path, *, limit: int | None = None) -> None:
        """Read both clips once to find the time span that they share.

        Args:
            visible: colour video.
            thermal: thermal video, grey or false colour.
            limit: at most this many RGB frames.

        Raises:
            ClipError: a file is missing, no video, empty, or without a frame rate.
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
        rates = [1e9 / max(clip.period_ns, 1) for clip in (self._rgb, self._thermal)]
        if abs(rates[0] / rates[1] - 1.0) > _SAME_RATE:
            notes.append(
                f"rates differ: visible {rates[0]:.1f} Hz, thermal {rates[1]:.1f} Hz; frames of "
                "the faster one are left over when they are paired"
            )
        if self._rgb.size != self._thermal.size:
            notes.append(
                f"sizes differ: visible {_by(self._rgb.size)}, thermal {_by(self._thermal.size)}; "
                "the node scales the thermal image, or give it a calibration"
            )
        notes += swap_notes(self._rgb.first, self._thermal.first, (visible.name, thermal.name))
        if is_coloured(self._thermal.first):
            notes.append(f"{thermal.name} is in false colour; its brightness is used as thermal")
        self.notes: tuple[str, ...] = tuple(notes)

    @property
    def frames(self) -> int:
        """Number of images of both cameras together."""
        return len(self._rgb_times) + len(self._thermal_times)

    def __iter__(self) -> Iterator[StampedImage]:
        """Yield frames of both clips in time order, thermal first at equal times."""
        rgb = (
            StampedImage("rgb", time_ns, _coloured(image))
            for time_ns, image in _frames(self._rgb, self._rgb_times)
        )
        thermal = (
            StampedImage("thermal", time_ns, _grey(image))
            for time_ns, image in _frames(self._thermal, self._thermal_times)
        )
        yield from heapq.merge(thermal, rgb, key=lambda frame: frame.time_ns)

    def _left_over(self) -> Iterator[str]:
        for clip, used in ((self._rgb, self._rgb_times), (self._thermal, self._thermal_times)):
            left = len(clip.times_ns) - len(used)
            if left:
                yield (
                    f"clips of different length: the last {left} of {len(clip.times_ns)} frames "
                    f"of {clip.path.name} have no counterpart and were left out"
                )


class FolderPairs:
    """A folder with visible/ and infrared/; files of the same name are pairs."""

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
            rate_hz: pictures a second, for the stamps.
            labels: folder of label pictures (8-bit class ids), matched the same way.
            limit: at most this many pairs, evenly spaced over the folder.

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
        first = [_picture(read_unchanged, side[names[0]]) for side in (visible, infrared)]
        notes += swap_notes(first[0], first[1], ("visible/", "infrared/"))
        self.notes: tuple[str, ...] = tuple(notes)
        self.title = folder.resolve().name
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

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._names)

    def time_s(self, index: int) -> float:
        """Return the time of a pair, computed from the rate."""
        return index * self._period_ns / 1e9

    def caption(self, index: int) -> str:
        """Return the name of a pair."""
        return self._names[index]

    def read(self, index: int) -> Pair:
        """Return one pair; pictures have no stamps, so the first one gets 1 s.

        Raises:
            ClipError: a picture turns out to be unreadable.
        """
        name, stamp_ns = self._names[index], round(1e9 * (1.0 + self.time_s(index)))
        rgb = _picture(read_rgb, self._visible[name])
        return Pair(rgb, _picture(read_thermal, self._infrared[name]), stamp_ns, stamp_ns)

    def close(self) -> None:
        """Do nothing; no file is open."""

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


def _probe(path: Path, role: str, notes: list[str]) -> _Clip:
    """Decode a clip once: the header's frame count and times may be wrong."""
    try:
        require_file(path)
    except FileNotFoundError as err:
        raise ClipError(f"{role} video {str(path)!r} does not exist; check the path") from err
    except OSError as err:
        raise ClipError(f"{role} video {err}") from err
    times: list[int | None] = []
    first: NDArray[Any] = np.empty(0)
    frames, rate, damage = 0, 0.0, ""
    try:
        frames, rate = declared(path)
        for time_ns, pixels in read_video(path):
            first = first if times else pixels
            times.append(time_ns)
    except VideoError as err:
        damage = str(err)
    if not times:
        raise ClipError(
            f"{role} video {str(path)!r} cannot be opened ({path.stat().st_size} bytes, "
            f"{damage or 'no frame'}): it is damaged or no video, copy it again or convert it to "
            "H.264 mp4"
        )
    if damage or len(times) < frames:
        notes.append(f"{path.name} says {frames} frames, only {len(times)} can be read")
    known = [time_ns for time_ns in times if time_ns is not None]
    if len(known) < len(times) or any(b <= a for a, b in itertools.pairwise(known)):
        if not rate > 0:
            raise ClipError(
                f"{role} video {str(path)!r} has neither time stamps nor a frame rate; "
                "convert it to mp4 with a constant rate"
            )
        notes.append(f"{path.name} has no increasing time stamps; its {rate:g} fps are used")
        known = [round(index * 1e9 / rate) for index in range(len(times))]
    period = known[-1] // (len(known) - 1) if len(known) > 1 else round(1e9 / max(rate, 1.0))
    size = (first.shape[0], first.shape[1])
    return _Clip(path, tuple(known), size, period, first)


def _frames(clip: _Clip, times_ns: Sequence[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    read = read_video(clip.path)
    for time_ns in times_ns:
        try:
            frame = next(read, None)
        except VideoError:
            frame = None
        if frame is None:
            raise ClipError(f"{clip.path}: no frame at {time_ns / 1e9:.2f} s; read again")
        yield time_ns, frame.pixels


def _coloured(image: NDArray[Any]) -> NDArray[Any]:
    if image.dtype != np.uint8:
        raise ClipError(f"{image.dtype} pixels; a visible video needs 8 bits a channel")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)) if image.ndim == 2 else image


def _grey(image: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) if image.ndim == 3 else image


def _by(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
