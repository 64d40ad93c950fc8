# SPDX-License-Identifier: Apache-2.0
"""Writes camera pairs as a rosbag2, without ROS."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from segmif_ros.recordings.bags import IMAGE, BagError, BagSummary, message_types, summarize
from segmif_ros.recordings.clips import Camera, PairSource
from segmif_ros.thermal import ThermalNormaliser

Storage = Literal["mcap", "sqlite3"]

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

TOPICS: dict[Camera, str] = {
    "rgb": "/rgb/image_raw",
    "thermal": "/thermal/image_raw",
    "labels": "/rgb/labels",
}
INFO_TOPICS: dict[Camera, str] = {"rgb": "/rgb/camera_info", "thermal": "/thermal/camera_info"}
FRAME_IDS: dict[Camera, str] = {
    "rgb": "rgb_optical_frame",
    "thermal": "thermal_optical_frame",
    "labels": "rgb_optical_frame",
}

_PLUGINS: dict[Storage, StoragePlugin] = {
    "mcap": StoragePlugin.MCAP,
    "sqlite3": StoragePlugin.SQLITE3,
}
_METADATA_VERSION: Literal[9] = 9
"""The metadata version that ROS 2 Jazzy itself writes."""


def write_bag(
    source: PairSource,
    out: Path,
    *,
    storage: Storage = "mcap",
    compress: bool = True,
    start_ns: int | None = None,
    thermal_8bit: bool = False,
    camera_info: bool = False,
    force: bool = False,
    progress: Callable[[int], Any] = lambda _: None,
) -> BagSummary:
    """Write stamped images of both cameras as a rosbag2 that `ros2 bag play` of Jazzy reads.

    Args:
        source: the images.
        out: folder to create.
        storage: file format.
        compress: zstd chunks inside mcap (losless; sqlite3 has none).
        start_ns: stamp of the first frame, nanoseconds; now if None.
        thermal_8bit: render 16-bit thermal images in 8 bits as the node would.
        camera_info: also write camera_info with the image size and K = 0 (not calibrated).
        force: replace an existing bag (only a folder with a metadata.yaml, nothing else); it is
            kept until the new one is complete.
        progress: called with 1 after every image.

    Raises:
        BagError: `out` exists or cannot be written.
        ClipError: an image of the source cannot be read; nothing is left behind.
    """
    base_ns = time.time_ns() if start_ns is None else start_ns
    if base_ns <= 0:
        raise BagError(f"start is {base_ns} ns; give a time above 0: zero stamps mean 'no clock'")
    old = _set_aside(out, force=force) if out.exists() or out.is_symlink() else None
    normaliser = ThermalNormaliser()
    compressed = compress and storage == "mcap"
    try:
        with _BagWriter(out, storage, compressed=compressed, camera_info=camera_info) as writer:
            for item in source:
                image = item.image
                if item.camera == "thermal" and thermal_8bit:
                    image = normaliser.normalise(image)
                writer.write(item.camera, base_ns + item.time_ns, image)
                progress(1)
    except OSError as err:
        _put_back(out, old)
        raise BagError(f"cannot write bag {str(out)!r}: {err.strerror or err}") from err
    except BaseException:
        _put_back(out, old)
        raise
    if old is not None:
        shutil.rmtree(old)
    return summarize(out)


class _BagWriter:
    """Rosbag2 writer that makes a topic when its first image arrives."""

    def __init__(self, out: Path, storage: Storage, *, compressed: bool, camera_info: bool) -> None:
        self._store = message_types()
        self._writer = Writer(out, version=_METADATA_VERSION, storage_plugin=_PLUGINS[storage])
        mode = CompressionMode.STORAGE if compressed else CompressionMode.NONE
        self._writer.set_compression(mode, CompressionFormat.ZSTD)
        self._connections: dict[str, Any] = {}
        self._camera_info = camera_info

    def __enter__(self) -> _BagWriter:
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, value, trace)

    def write(self, camera: Camera, stamp_ns: int, image: NDArray[Any]) -> None:
        height, width = image.shape[:2]
        header = self._header(stamp_ns, FRAME_IDS[camera])
        encoding = {(3, "uint8"): "rgb8", (2, "uint8"): "mono8", (2, "uint16"): "mono16"}[
            image.ndim, str(image.dtype)
        ]
        data = np.ascontiguousarray(image)
        if data.dtype == np.uint16:
            data = data.astype("<u2", copy=False)
        pixels = data.reshape(-1).view(np.uint8)
        make = self._store.types[IMAGE]
        message = make(header, height, width, encoding, 0, len(pixels) // height, pixels)
        self._append(TOPICS[camera], IMAGE, stamp_ns, message)
        if self._camera_info and camera in INFO_TOPICS:
            info = self._uncalibrated(header, height, width)
            self._append(INFO_TOPICS[camera], CAMERA_INFO, stamp_ns, info)

    def _append(self, topic: str, kind: str, stamp_ns: int, message: Any) -> None:
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._writer.add_connection(topic, kind, typestore=self._store)
            self._connections[topic] = connection
        self._writer.write(connection, stamp_ns, self._store.serialize_cdr(message, kind))

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self._store.types["builtin_interfaces/msg/Time"](seconds, nanoseconds)
        return self._store.types["std_msgs/msg/Header"](stamp, frame_id)

    def _uncalibrated(self, header: Any, height: int, width: int) -> Any:
        region = self._store.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        zeros = np.zeros
        return self._store.types[CAMERA_INFO](
            header, height, width, "", zeros(0), zeros(9), zeros(9), zeros(12), 0, 0, region
        )


def _set_aside(out: Path, *, force: bool) -> Path:
    if not force:
        raise BagError(f"{str(out)!r} exists already; give another name, or --force to replace it")
    is_bag = (out / "metadata.yaml").is_file() or (out.is_dir() and not any(out.iterdir()))
    if out.is_symlink() or not is_bag:
        raise BagError(
            f"{str(out)!r} is not a bag, so --force does not remove it; give another name"
        )
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    return out.rename(old / out.name).parent


def _put_back(out: Path, old: Path | None) -> None:
    shutil.rmtree(out, ignore_errors=True)
    if old is not None:
        (old / out.name).rename(out)
        old.rmdir()
