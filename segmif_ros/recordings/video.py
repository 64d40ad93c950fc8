# SPDX-License-Identifier: Apache-2.0
"""Reads videos with FFmpeg's libraries (PyAV), and writes H.264."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8
from segmif_ros.outputs import written_aside

ENCODERS = ("libx264", "libopenh264")
"""H.264 encoders in order of preference."""
_TICKS_HZ, _USUAL_HZ = 90_000, 30
_KEY_INTERVAL = 12
"""Keyframe interval, frames: a player can seek to each keyframe."""
_SECOND_NS = 1_000_000_000


class VideoError(RuntimeError):
    """A video cannot be read or written; the message has the remedy."""


class VideoFrame(NamedTuple):
    """One frame of a file.

    Attributes:
        time_ns: since the start of the stream, None if the file has no times.
        pixels: HxWx3 uint8 RGB; HxW uint8 or uint16 of a grey video.
    """

    time_ns: int | None
    pixels: NDArray[Any]


def write_video(
    path: Path,
    frames: Iterable[tuple[float, Image8]],
    progress: Callable[[int], Any] = lambda _: None,
) -> int:
    """Write an H.264 mp4, one frame at a time; the file is renamed when complete.

    Args:
        path: file to write, ending in .mp4.
        frames: seconds, rising, and HxWx3 uint8 RGB, of one even size; each is shown until the
            next one, the last as long as the one before.
        progress: called with 1 after each frame.

    Returns:
        Number of frames.

    Raises:
        VideoError: no frames, one of another size or time, a bad name, or no H.264 encoder.
        OSError: the file cannot be written.
    """
    if path.suffix != ".mp4":
        raise VideoError(f"{path.name}: the video format is mp4; end the name with .mp4")
    av = _library()
    encoder = next((name for name in ENCODERS if name in av.codecs_available), None)
    if encoder is None:
        raise VideoError("this PyAV has no H.264 encoder; install av from PyPI, which has one")
    try:
        with written_aside(path) as part:
            return _encode(part, frames, encoder, progress)
    except av.FFmpegError as err:
        raise VideoError(f"{path} cannot be written: {err.strerror}") from err


def read_video(path: Path) -> Iterator[VideoFrame]:
    """Decode a video frame by frame, with its rotation applied.

    Raises:
        VideoError: no video, or damaged at its beginning; later damage ends it.
    """
    av = _library()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError("it holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            start = None
            for frame in container.decode(stream):
                start = frame.pts if start is None else start
                time_ns = None
                if frame.pts is not None and start is not None and frame.time_base is not None:
                    time_ns = round((frame.pts - start) * frame.time_base * _SECOND_NS)
                yield VideoFrame(time_ns, _pixels(frame))
    except av.FFmpegError as err:
        raise VideoError(err.strerror or type(err).__name__) from err


def declared(path: Path) -> tuple[int, float]:
    """Return frames and frames a second as the file's header says, 0 where it does not.

    Raises:
        VideoError: no video.
    """
    av = _library()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError("it holds no video")
            stream = container.streams.video[0]
            return stream.frames, float(stream.average_rate or 0.0)
    except av.FFmpegError as err:
        raise VideoError(err.strerror or type(err).__name__) from err


def _library() -> Any:
    """Return PyAV, which is optional: a vehicle does not need it."""
    try:
        import av
    except ImportError as err:
        raise VideoError("videos are read and written by PyAV: pip install av") from err
    return av


def _encode(
    path: Path,
    frames: Iterable[tuple[float, Image8]],
    encoder: str,
    progress: Callable[[int], Any],
) -> int:
    tick, gap, shape, held = -1, round(_TICKS_HZ / _USUAL_HZ), (0, 0, 3), None
    count, first_s, av = 0, 0.0, _library()
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        options = {"crf": "20", "preset": "fast"}
        stream = container.add_stream(encoder, rate=_USUAL_HZ, options=options)
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS_HZ)
        stream.codec_context.gop_size = _KEY_INTERVAL
        stream.codec_context.max_b_frames = 0
        for time_s, pixels in frames:
            if not count:
                first_s, shape = time_s, pixels.shape
                stream.height, stream.width = shape[:2]
            if pixels.shape != shape:
                raise VideoError(f"frame {count} is {pixels.shape}, the first one {shape}")
            now = round((time_s - first_s) * _TICKS_HZ)
            if now <= tick:
                raise VideoError(f"frame {count} has time {time_s:g} s, which does not rise")
            gap, tick = (now - tick if count else gap), now
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            picture.pts, picture.time_base = tick, Fraction(1, _TICKS_HZ)
            held = _mux(container, held, stream.encode(picture))
            count += 1
            progress(1)
        if not count:
            raise VideoError("there are no frames, so there is no video")
        held = _mux(container, held, stream.encode())
        if held is not None:
            held.duration = gap
            container.mux(held)
    return count


def _mux(container: Any, held: Any, packets: Sequence[Any]) -> Any:
    """Write all packets but the last and return that: its duration is known at the end."""
    for packet in packets:
        if held is not None:
            container.mux(held)
        held = packet
    return held


def _pixels(frame: Any) -> NDArray[Any]:
    """Return the pixels with the stored rotation of the frame applied."""
    name = frame.format.name
    kind = (
        "gray16le" if name.startswith("gray16") else "gray" if name.startswith("gray") else "rgb24"
    )
    pixels = frame.to_ndarray(format=kind)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
