# SPDX-License-Identifier: Apache-2.0
"""`sensor_msgs/CameraInfo`: what the outputs carry, and whether a camera is the calibrated one."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from segmif_ros.pairing import Stream
from segmif_ros.registration import Geometry, RegistrationError
from segmif_ros.ros.node.image_receiver import ReceiverGroup
from segmif_ros.ros.node.statistics import NANOSECONDS
from segmif_ros.ros.qos import CAMERA_INFO_INPUTS, INPUT_TOPICS, camera_info_input, overridable
from segmif_ros.ros.rclpy_private import take_message

if TYPE_CHECKING:
    from segmif_ros.registration import Intrinsics, RigCalibration

AGREEMENT_PX = 0.5
"""Two descriptions of one lens differ by less: drivers round what they publish."""


def output_camera_info(info: CameraInfo, header: Any, size: tuple[int, int]) -> CameraInfo:
    """Return the camera_info of the outputs: they lie on the RGB image as published.

    So K, D, R and P stay, whatever the thermal camera is; only the header is the frame's.

    Args:
        info: newest message of the RGB camera.
        header: std_msgs/Header of the RGB frame.
        size: (height, width) of the RGB frame.

    Raises:
        RegistrationError: it is not of this image: another size, or not calibrated.
    """
    check_camera_info(info, size)
    out = copy(info)
    out.header = header
    return out


def check_camera_info(
    info: CameraInfo,
    size: tuple[int, int] | None,
    calibration: Geometry | None = None,
    camera: Literal["rgb", "thermal"] = "rgb",
) -> None:
    """Refuse a camera_info that does not belong to its images, or not to the calibration.

    Args:
        info: the message.
        size: (height, width) of the camera's images, None when none came yet.
        calibration: what the node registers with.
        camera: whose message it is.

    Raises:
        RegistrationError: one line for diagnostics, with what was found and what to do.
    """
    if size is not None and (info.height, info.width) != size:
        raise RegistrationError(
            f"camera_info of {camera} is for {info.width}x{info.height} pixels, the images have "
            f"{size[1]}x{size[0]}; make the driver load the calibration of this resolution"
        )
    if info.k[0] == 0.0:
        raise RegistrationError(
            f"camera_info of {camera} has K[0] = 0: the camera is not calibrated; give its driver "
            "a calibration"
        )
    if calibration is None:
        return
    expected = calibration.rgb_size if camera == "rgb" else calibration.thermal_size
    if (info.height, info.width) != expected:
        raise RegistrationError(
            f"camera_info of {camera} is for {info.width}x{info.height} pixels, the calibration "
            f"for {expected[1]}x{expected[0]}; calibrate again at this resolution"
        )
    if _knows_lenses(calibration):
        _check_lens(info, calibration.rgb if camera == "rgb" else calibration.thermal, camera)


class CameraInfoWatch:
    """Compares the camera_info of one camera with the calibration: once, not every second."""

    def __init__(self) -> None:
        self._compared: tuple[Any, ...] | None = None
        self._calibration: Geometry | None = None
        self._problem = ""

    def problem(
        self,
        info: CameraInfo | None,
        calibration: Geometry | None,
        camera: Literal["rgb", "thermal"],
    ) -> str:
        """Return what is wrong in one line, empty if nothing is known to be.

        Only a rig calibration holds lenses; cameras without one are not checked.
        """
        if info is None or calibration is None or not _knows_lenses(calibration):
            return ""
        lens = (info.height, info.width, info.distortion_model, *info.k, *info.d, *info.p)
        compared = (*lens, info.binning_x, info.binning_y, str(info.roi))
        if compared != self._compared or calibration is not self._calibration:
            self._compared, self._calibration, self._problem = compared, calibration, ""
            try:
                check_camera_info(info, None, calibration, camera)
            except RegistrationError as err:
                self._problem = str(err)
        return self._problem


def _knows_lenses(calibration: Geometry) -> TypeGuard[RigCalibration]:
    from segmif_ros.registration import RigCalibration

    return isinstance(calibration, RigCalibration)


def _check_lens(info: CameraInfo, calibrated: Intrinsics, camera: str) -> None:
    from segmif_ros.registration.lens import difference_px, intrinsics_of

    try:
        raw = intrinsics_of(info)
    except RegistrationError as err:
        raise RegistrationError(f"camera_info of {camera}: {err}") from err
    difference = difference_px(calibrated, raw)
    if difference > AGREEMENT_PX and info.p[0] != 0.0:
        # The topic beside a rectified image describes both: K and D the raw one, P the other.
        rectified = intrinsics_of(info, rectified=True)
        difference = min(difference, difference_px(calibrated, rectified))
    if difference > AGREEMENT_PX:
        raise RegistrationError(
            f"camera_info of {camera} and the calibration file differ by up to {difference:.1f} "
            "px; if the camera was recalibrated, calibrate the rig again"
        )


_LOOK_EVERY_NS = NANOSECONDS


class CameraInfoInput:
    """The newest camera_info of one camera.

    Attributes:
        topic: full name that is subscribed to.
        newest: the newest message that `look` found, None before the first.
    """

    def __init__(self, node: Node, stream: Stream) -> None:
        """Subscribe to `camera_info_topic`."""
        self._node = node
        self.newest: CameraInfo | None = None
        self._looked_ns = -_LOOK_EVERY_NS
        self._subscription = node.create_subscription(
            CameraInfo,
            camera_info_topic(node, stream),
            lambda _: None,
            camera_info_input(),
            callback_group=ReceiverGroup(),
            qos_overriding_options=overridable(),
            # As in `ImageInput`: they would make the executor run for every message.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )
        self.topic = str(self._subscription.topic_name)

    def look(self, now_ns: int) -> None:
        """Take what has come: at every call until the first message, then once a second."""
        if self.newest is not None and now_ns - self._looked_ns < _LOOK_EVERY_NS:
            return
        self._looked_ns = now_ns
        taken = take_message(self._subscription)
        self.newest = self.newest if taken is None else taken[0]

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)


def camera_info_topic(node: Node, stream: Stream) -> str:
    """Return the topic of a camera's camera_info.

    A remapping of `~/input/<camera>/camera_info` decides. Without one it is the camera_info beside
    the image when that is remapped, as image_transport has it: /front/image_raw and
    /front/camera_info.
    """
    own, image = CAMERA_INFO_INPUTS[stream], INPUT_TOPICS[stream]
    resolved = str(node.resolve_topic_name(own))
    image_resolved = str(node.resolve_topic_name(image))
    remapped = resolved != node.resolve_topic_name(own, only_expand=True)
    if remapped or image_resolved == node.resolve_topic_name(image, only_expand=True):
        return resolved
    return image_resolved.rpartition("/")[0] + "/camera_info"
