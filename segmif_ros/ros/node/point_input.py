# SPDX-License-Identifier: Apache-2.0
"""Clouds and depth images wait here for the mask that is nearest to them in time.

A mask is nearest when none that comes later can be nearer: so a cloud is labelled when the first
mask with a later stamp is there, by that one or by the one before.
"""

from __future__ import annotations

import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from segmif_ros.frames import Pair, Result
from segmif_ros.images.raw import ImageRefused, view_thermal
from segmif_ros.objects.clouds import (
    ADDED,
    FLOAT32,
    Cloud,
    CloudRefused,
    PointLabels,
    native_bytes,
    offset_of_added,
    read_cloud,
)
from segmif_ros.objects.points import (
    LabelPicture,
    depth_in_rgb,
    label_points,
    organised,
    rays_of,
)
from segmif_ros.pairing import stamp_of
from segmif_ros.registration import Intrinsics, RegistrationError
from segmif_ros.registration.calibration import Mounting, Transform
from segmif_ros.registration.calibration_file import rotation_matrix
from segmif_ros.ros.log_throttle import LogThrottle
from segmif_ros.ros.node.camera_infos import intrinsics_of
from segmif_ros.ros.node.statistics import NANOSECONDS, Statistics
from segmif_ros.ros.qos import DEPTH_INPUT, POINTS_INPUT, overridable, sensor_input

_WAITING = 8
"""Clouds that wait for a mask; of more the oldest goes."""
Lookup = Callable[[str, str], Transform | None]
"""Asks tf2 for the transform from a frame (second) to another (first); None where it knows none."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """One mask and what belongs to it."""

    picture: LabelPicture
    pair: Pair

    def copy(self) -> _Shown:
        """Return one that outlives the next result."""
        p = self.picture
        images = (None if i is None else i.copy() for i in (p.mask, p.confidence, p.rgb))
        mask, confidence, rgb = images
        assert mask is not None
        assert confidence is not None
        values = None if p.temperature is None else p.temperature.copy()
        return _Shown(LabelPicture(mask, confidence, rgb, values), self.pair)


class PointInput:
    """The subscriptions to a LiDAR and to a depth camera: only while somebody reads the points."""

    def __init__(self, node: Node, labeller: PointLabeller) -> None:
        """Subscribe to nothing yet."""
        self._node, self._labeller = node, labeller
        self._subscriptions: list[Any] = []

    def listen(self, wanted: bool) -> None:
        """Subscribe, or unsubscribe."""
        if wanted and not self._subscriptions:
            self._subscriptions = [
                self._node.create_subscription(
                    kind,
                    topic,
                    self._labeller.take,
                    sensor_input(),
                    qos_overriding_options=overridable(),
                )
                for kind, topic in ((PointCloud2, POINTS_INPUT), (Image, DEPTH_INPUT))
            ]
        elif not wanted and self._subscriptions:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []
            self._labeller.forget()


class PointLabeller:
    """Labels what waits. `take` may be called from any thread, the rest belongs to the worker."""

    def __init__(
        self,
        mounting: Mounting | None,
        statistics: Statistics,
        logger: Any,
        lookup: Lookup | None = None,
    ) -> None:
        """Begin with nothing.

        Args:
            mounting: where LiDAR and depth camera sit, None without a calibration.
            statistics: counts what came, was published, refused, or found no mask.
            logger: told of refusals, now and then.
            lookup: asked for the LiDAR's place when `mounting` has none.
        """
        self._mounting = mounting or Mounting()
        self._counts, self._logger = statistics.points, logger
        self._lookup = lookup
        self._throttle = LogThrottle()
        self._waiting: deque[Any] = deque()
        self._before: _Shown | None = None
        self._rays: dict[tuple[Any, ...], NDArray[np.float32]] = {}

    def take(self, message: Any) -> None:
        """Keep a cloud or a depth image until its mask is there."""
        self._counts.received += 1
        self._waiting.append(message)
        while len(self._waiting) > _WAITING:
            self._waiting.popleft()
            self._counts.unmatched += 1

    def forget(self) -> None:
        """Drop what waits and the mask before: nobody reads any more."""
        self._waiting.clear()
        self._before = None

    def labelled(
        self, result: Result, pair: Pair, values: NDArray[np.float32] | None
    ) -> Iterator[PointCloud2]:
        """Yield the clouds whose mask is decided by this result."""
        now = _Shown(LabelPicture(result.mask, result.confidence, result.rgb, values), pair)
        tolerance_ns = pair.settings.points_tolerance_ns
        for _ in range(len(self._waiting)):
            message = self._waiting.popleft()
            stamp_ns = stamp_of(message.header)
            ahead_ns = stamp_ns - pair.stamp_ns
            if 0 < ahead_ns <= max(tolerance_ns, NANOSECONDS):
                self._waiting.append(message)
                continue
            shown = min(
                (each for each in (now, self._before) if each is not None),
                key=lambda each: abs(stamp_ns - each.pair.stamp_ns),
            )
            if abs(stamp_ns - shown.pair.stamp_ns) > tolerance_ns:
                self._counts.unmatched += 1
                continue
            try:
                cloud = self._made(message, shown)
            except (CloudRefused, ImageRefused, RegistrationError) as err:
                self._refuse(message, str(err))
            else:
                self._counts.published += 1
                yield cloud
        self._before = now.copy()

    def _refuse(self, message: Any, text: str) -> None:
        counts = self._counts
        counts.refused += 1
        counts.last_refusal = text
        if self._throttle.ready(monotonic_ns()):
            kind = "points" if hasattr(message, "fields") else "depth"
            self._logger.warning(f"{kind} refused ({counts.refused} so far): {text}")

    def _made(self, message: Any, shown: _Shown) -> PointCloud2:
        camera = self._camera(shown)
        if hasattr(message, "fields"):
            return self._of_lidar(message, shown, camera)
        return self._of_depth(message, shown, camera)

    def _camera(self, shown: _Shown) -> Intrinsics:
        camera, size = self._mounting.rgb, shown.picture.mask.shape
        if camera is None:
            if shown.pair.camera_info is None:
                raise RegistrationError(
                    "the lens of the RGB camera is unknown: no k in the calibration, and no "
                    "camera_info has come"
                )
            camera = intrinsics_of(shown.pair.camera_info)
        if camera.size != size:
            raise RegistrationError(
                f"the lens of the RGB camera is known for {camera.size[1]}x{camera.size[0]} "
                f"pixels, the images have {size[1]}x{size[0]}"
            )
        return camera

    def _of_lidar(self, message: Any, shown: _Shown, camera: Intrinsics) -> PointCloud2:
        cloud = read_cloud(message)
        frame, own = str(message.header.frame_id), self._mounting.lidar_frame
        if own and frame != own:
            raise CloudRefused(f"frame {frame!r}, the calibration is for {own!r}")
        place = self._mounting.lidar
        if place is None and self._lookup is not None:
            place = self._lookup(shown.pair.frame_id, frame)
        if place is None:
            raise CloudRefused(
                f"the calibration has no lidar: block, and tf2 knows no way from {frame!r} to "
                f"{shown.pair.frame_id!r}; add one (docs/calibration.md)"
            )
        labels = label_points(cloud.xyz, shown.picture, camera, place)
        return cloud_message(cloud, labels, message.header, message.fields)

    def _of_depth(self, message: Any, shown: _Shown, camera: Intrinsics) -> PointCloud2:
        own = self._mounting.depth or camera
        if (message.height, message.width) != own.size:
            raise CloudRefused(
                f"depth of {message.width}x{message.height} pixels, expected "
                f"{own.size[1]}x{own.size[0]}: registered to RGB, or of the camera that the "
                "calibration's depth: block names"
            )
        if message.encoding not in ("16UC1", "mono16", "32FC1"):
            raise CloudRefused(
                f"depth encoding {message.encoding!r}, expected 16UC1 (mm) or 32FC1 (m)"
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
        return cloud_message(made, labels, shown.pair.header, XYZ)

    def _rays_of(self, camera: Intrinsics) -> NDArray[np.float32]:
        key = (camera.size, camera.matrix.tobytes(), camera.model, camera.coefficients)
        if key not in self._rays:
            self._rays[key] = rays_of(camera)
        return self._rays[key]


def cloud_message(cloud: Cloud, labels: PointLabels, header: Header, fields: Any) -> PointCloud2:
    """Return a cloud with the added fields; one of theirs with the same name is replaced."""
    added = {name for name, _, _ in ADDED}
    start = offset_of_added(cloud.points.shape[1])
    points = cloud.labelled(labels)
    message = PointCloud2(header=header, is_bigendian=cloud.big_endian, is_dense=False)
    message.height, message.width = cloud.size
    message.fields = [field for field in fields if field.name not in added] + [
        PointField(name=name, offset=start + offset, datatype=kind, count=1)
        for name, offset, kind in ADDED
    ]
    message.point_step = points.shape[1]
    message.row_step = points.shape[1] * message.width
    data = array.array("B")
    data.frombytes(points.data)
    message.data = data
    return message


XYZ = [
    PointField(name=name, offset=4 * place, datatype=FLOAT32, count=1)
    for place, name in enumerate("xyz")
]
"""Fields of a cloud that was made of a depth image."""


def tf_lookup(node: Node) -> Lookup | None:
    """Return what asks tf2; None where tf2_ros, which has no wheel, is not installed."""
    try:
        from tf2_ros import Buffer, TransformException, TransformListener
    except ImportError:
        return None
    buffer = Buffer()
    listener = TransformListener(buffer, node)

    def look(target: str, source: str, _keeps: Any = listener) -> Transform | None:
        try:
            found = buffer.lookup_transform(target, source, Time()).transform
        except TransformException:
            return None
        q, t = found.rotation, found.translation
        try:
            turn = rotation_matrix(np.array([q.x, q.y, q.z, q.w]))
            return Transform(turn, np.array([t.x, t.y, t.z]))
        except RegistrationError:
            return None

    return look
