# SPDX-License-Identifier: Apache-2.0
"""Clouds and depth images wait here for the mask that is nearest to them in time; no ROS.

A mask is nearest when none that comes later can be nearer: so a cloud is labelled when the first
mask with a later stamp is there, by that one or by the one before. Messages are whatever has the
fields of `sensor_msgs/PointCloud2` and `Image`: rclpy's own, or those that rosbags reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmif_ros.error_codes import brief
from segmif_ros.images.raw import ImageRefused, view_thermal
from segmif_ros.objects.clouds import (
    XYZ,
    CloudRefused,
    LabelledCloud,
    labelled_cloud,
    native_bytes,
    read_cloud,
)
from segmif_ros.objects.points import (
    LabelPicture,
    depth_in_rgb,
    label_points,
    organised,
    rays_of,
)
from segmif_ros.registration import Intrinsics, RegistrationError
from segmif_ros.registration.calibration import Mounting, Transform
from segmif_ros.registration.lens import intrinsics_of

WAITING = 32
"""Clouds that wait for a mask, of more the oldest goes: 1.6 s of a LiDAR at 20 Hz, so that a node
with a second from camera to mask labels points too."""
_SECOND = 1_000_000_000
Lookup = Callable[[str, str], Transform | None]
"""Returns tf2's transform from a frame (second) to another (first); None without one."""


@dataclass
class PointStatistics:
    """Clouds and depth images since the node was configured, or of one bag."""

    received: int = 0
    published: int = 0
    unmatched: int = 0
    refused: int = 0
    last_refusal: str = ""

    def values(self) -> dict[str, str]:
        """Return them for diagnostics, nothing before the first one has come."""
        if not self.received:
            return {}
        return {f"points.{name}": str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One mask and what belongs to it.

    Attributes:
        picture: what points are labelled from.
        stamp_ns: of the RGB image.
        header: std_msgs/Header of the results.
        camera_info: newest sensor_msgs/CameraInfo of the RGB camera, None without.
    """

    picture: LabelPicture
    stamp_ns: int
    header: Any
    camera_info: Any = None

    def copy(self) -> Seen:
        """Return one that outlives the next result."""
        p = self.picture
        images = (None if i is None else i.copy() for i in (p.mask, p.confidence, p.rgb))
        mask, confidence, rgb = images
        assert mask is not None
        assert confidence is not None
        values = None if p.temperature is None else p.temperature.copy()
        picture = LabelPicture(mask, confidence, rgb, values)
        return Seen(picture, self.stamp_ns, self.header, self.camera_info)


class PointLabeller:
    """Labels what waits. `take` may be called from any thread, the rest belongs to the worker.

    Attributes:
        counts: what came, was labelled, was refused, or found no mask.
    """

    def __init__(
        self,
        mounting: Mounting | None,
        report: Callable[[str], None],
        lookup: Lookup | None = None,
        waiting: int = WAITING,
    ) -> None:
        """Start empty.

        Args:
            mounting: where LiDAR and depth camera sit, None without a calibration.
            report: called with one line for each refusal.
            lookup: returns the LiDAR's pose when `mounting` has none.
            waiting: clouds that may wait for a mask.
        """
        self.counts = PointStatistics()
        self._mounting, self._report = mounting or Mounting(), report
        self._lookup, self._most = lookup, waiting
        self._waiting: deque[Any] = deque()
        self._before: Seen | None = None
        self._rays: dict[tuple[Any, ...], NDArray[np.float32]] = {}

    def take(self, message: Any) -> None:
        """Keep a cloud or a depth image until its mask is there."""
        self.counts.received += 1
        self._waiting.append(message)
        while len(self._waiting) > self._most:
            self._waiting.popleft()
            self.counts.unmatched += 1

    def forget(self) -> None:
        """Drop what waits and the mask before: the last subscriber left."""
        self._waiting.clear()
        self._before = None

    def labelled(self, now: Seen | None, tolerance_ns: int) -> Iterator[LabelledCloud]:
        """Yield the clouds whose mask is decided by this result.

        Args:
            now: the newest result; None when no further one comes.
            tolerance_ns: largest distance in time between cloud and mask.
        """
        for _ in range(len(self._waiting)):
            message = self._waiting.popleft()
            stamp_ns = message.header.stamp.sec * _SECOND + message.header.stamp.nanosec
            if now is not None and 0 < stamp_ns - now.stamp_ns <= max(tolerance_ns, _SECOND):
                self._waiting.append(message)
                continue
            shown = min(
                (each for each in (now, self._before) if each is not None),
                key=lambda each: abs(stamp_ns - each.stamp_ns),
                default=None,
            )
            if shown is None or abs(stamp_ns - shown.stamp_ns) > tolerance_ns:
                self.counts.unmatched += 1
                continue
            try:
                cloud = self._made(message, shown)
            except (CloudRefused, ImageRefused, RegistrationError) as err:
                self.counts.refused += 1
                self.counts.last_refusal = str(err)
                kind = "points" if hasattr(message, "fields") else "depth"
                self._report(f"{kind} refused ({self.counts.refused} so far): {err}")
            else:
                self.counts.published += 1
                yield cloud
        self._before = None if now is None else now.copy()

    def _made(self, message: Any, shown: Seen) -> LabelledCloud:
        camera = self._camera(shown)
        if hasattr(message, "fields"):
            return self._of_lidar(message, shown, camera)
        return self._of_depth(message, shown, camera)

    def _camera(self, shown: Seen) -> Intrinsics:
        camera, size = self._mounting.rgb, shown.picture.mask.shape
        if camera is None:
            if shown.camera_info is None:
                raise RegistrationError(
                    "the lens of the RGB camera is unknown: no k in the calibration, and no "
                    "camera_info has come"
                )
            camera = intrinsics_of(shown.camera_info)
        if camera.size != size:
            raise RegistrationError(
                f"the lens of the RGB camera is known for {camera.size[1]}x{camera.size[0]} "
                f"pixels, the images have {size[1]}x{size[0]}"
            )
        return camera

    def _of_lidar(self, message: Any, shown: Seen, camera: Intrinsics) -> LabelledCloud:
        cloud = read_cloud(message)
        frame, own = str(message.header.frame_id), self._mounting.lidar_frame
        if own and frame != own:
            raise CloudRefused(f"frame '{brief(frame)}', the calibration is for {own!r}")
        place = self._mounting.lidar
        if place is None and self._lookup is not None:
            place = self._lookup(shown.header.frame_id, frame)
        if place is None:
            raise CloudRefused(
                "the calibration has no lidar: block, and tf2 has no transform from "
                f"'{brief(frame)}' to '{brief(shown.header.frame_id)}'; "
                "add one (docs/calibration.md)"
            )
        labels = label_points(cloud.xyz, shown.picture, camera, place)
        return labelled_cloud(cloud, labels, message.header, message.fields)

    def _of_depth(self, message: Any, shown: Seen, camera: Intrinsics) -> LabelledCloud:
        own = self._mounting.depth or camera
        if (message.height, message.width) != own.size:
            raise CloudRefused(
                f"depth of {message.width}x{message.height} pixels, expected "
                f"{own.size[1]}x{own.size[0]}: registered to RGB, or of the camera that the "
                "calibration's depth: block names"
            )
        if message.encoding not in ("16UC1", "mono16", "32FC1"):
            raise CloudRefused(
                f"depth encoding '{brief(message.encoding)}', expected 16UC1 (mm) or 32FC1 (m)"
            )
        depth = view_thermal(message).to_thermal()
        metres = np.asarray(depth, np.float32)
        if depth.dtype.kind != "f":
            metres = metres * np.float32(1e-3)
        cloud = organised(metres, self._rays_of(own))
        if self._mounting.depth is not None:
            place = self._mounting.depth_transform or Transform.identity()
            spread = int(np.ceil(camera.matrix[0, 0] / own.matrix[0, 0]))
            cloud = organised(depth_in_rgb(cloud, camera, place, spread), self._rays_of(camera))
        made = native_bytes(cloud)
        labels = shown.picture.everywhere()
        return labelled_cloud(made, labels, shown.header, XYZ)

    def _rays_of(self, camera: Intrinsics) -> NDArray[np.float32]:
        key = (camera.size, camera.matrix.tobytes(), camera.model, camera.coefficients)
        if key not in self._rays:
            self._rays[key] = rays_of(camera)
        return self._rays[key]
