# SPDX-License-Identifier: Apache-2.0
"""Calibrations as YAML files; docs/calibration.md describes the fields."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import yaml
from numpy.typing import NDArray

from segmif_ros.documents import DocumentError, conform, read_yaml
from segmif_ros.outputs import write_whole
from segmif_ros.registration.calibration import Calibration, Mounting, RigCalibration, Transform
from segmif_ros.registration.lens import Intrinsics, check_whole_image
from segmif_ros.registration.warp import RegistrationError

Whole = Annotated[float, msgspec.Meta(multiple_of=1)]
Numbers = list[float | list[float]]
"""Row-major values, or a list of rows."""


@dataclass(frozen=True, slots=True)
class _Roi:
    x_offset: int = 0
    y_offset: int = 0
    width: int = 0
    height: int = 0
    do_rectify: bool = False


@dataclass(frozen=True, slots=True)
class _Camera:
    """Fields of a `sensor_msgs/CameraInfo`; unused ones are accepted."""

    width: Whole
    height: Whole
    k: Numbers | None = None
    d: tuple[float, ...] = ()
    distortion_model: str = "plumb_bob"
    binning_x: int = 0
    binning_y: int = 0
    roi: _Roi | None = None
    header: Any = None
    r: Any = None
    p: Any = None

    @property
    def size(self) -> tuple[int, int]:
        return int(self.height), int(self.width)


@dataclass(frozen=True, slots=True)
class _Extrinsic:
    rotation: Numbers
    translation_m: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Lidar:
    rotation: Numbers
    translation_m: tuple[float, ...]
    frame_id: str = ""


@dataclass(frozen=True, slots=True)
class _Depth:
    camera: _Camera
    extrinsic: _Extrinsic


@dataclass(frozen=True, slots=True)
class _HomographyFile:
    rgb: _Camera
    thermal: _Camera
    homography: Numbers
    source: str | int | float = ""
    lidar: _Lidar | None = None
    depth: _Depth | None = None


@dataclass(frozen=True, slots=True)
class _RigFile:
    rgb: _Camera
    thermal: _Camera
    extrinsic: _Extrinsic
    plane_distance_m: float | None = None
    depth_range_m: tuple[float, float] | None = None
    homography: Any = None
    source: str | int | float = ""
    lidar: _Lidar | None = None
    depth: _Depth | None = None


def load_calibration(path: str | Path) -> Calibration | RigCalibration:
    """Read a calibration file.

    Raises:
        RegistrationError: unreadable, a field missing, unknown or malformed, or values that are
            no calibration; the message names the file and the value.
    """
    with _naming(path):
        file = _read(path)
        return _rig(file) if isinstance(file, _RigFile) else _homography(file)


def load_mounting(path: str | Path) -> Mounting:
    """Read the LiDAR and the depth camera of a calibration file.

    Raises:
        RegistrationError: as `load_calibration`.
    """
    with _naming(path):
        file = _read(path)
        lidar, depth = file.lidar, file.depth
        return Mounting(
            None if file.rgb.k is None else _intrinsics(file.rgb, "rgb"),
            None if lidar is None else _transform(lidar),
            "" if lidar is None else lidar.frame_id,
            None if depth is None else _intrinsics(depth.camera, "depth"),
            None if depth is None else _transform(depth.extrinsic),
        )


def _read(path: str | Path) -> _RigFile | _HomographyFile:
    try:
        raw = read_yaml(Path(path), infinite=True)
    except DocumentError as err:
        raise RegistrationError(
            f"cannot be read: {err}; give the path of a calibration YAML"
        ) from err
    try:
        if isinstance(raw, dict) and "extrinsic" in raw:
            return conform(raw, _RigFile)
        return conform(raw, _HomographyFile)
    except DocumentError as err:
        raise RegistrationError(
            f"{err}; expected rgb and thermal with width and height, and a 3x3 homography "
            "or an extrinsic"
        ) from err


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Prefix an error with the name of the file."""
    try:
        yield
    except RegistrationError as err:
        raise RegistrationError(
            f"calibration {str(path)!r}: {err} (docs/calibration.md); calibrate again"
        ) from err


def _transform(given: _Extrinsic | _Lidar) -> Transform:
    return Transform(
        rotation_matrix(_matrix(given.rotation, "rotation")),
        np.asarray(given.translation_m, np.float64),
    )


def save_calibration(
    calibration: Calibration | RigCalibration, path: str | Path, mounting: Mounting | None = None
) -> None:
    """Write a file that `load_calibration` reads, atomically.

    Args:
        calibration: what to write.
        path: the file; folders are made.
        mounting: written too: lens of the RGB camera and transform of the LiDAR, if known.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, calibration_yaml(calibration, mounting))


def calibration_yaml(
    calibration: Calibration | RigCalibration, mounting: Mounting | None = None
) -> str:
    """Return the text of the file."""
    content: dict[str, Any]
    if isinstance(calibration, Calibration):
        content = {
            "rgb": _size_content(calibration.rgb_size),
            "thermal": _size_content(calibration.thermal_size),
            "homography": np.asarray(calibration.homography, np.float64).tolist(),
        }
    else:
        content = {
            "rgb": _camera_content(calibration.rgb),
            "thermal": _camera_content(calibration.thermal),
            "extrinsic": {
                "rotation": calibration.rotation.tolist(),
                "translation_m": calibration.translation_m.tolist(),
            },
        }
        near, far = float(calibration.nearest_m), float(calibration.furthest_m)
        content |= {"plane_distance_m": near} if near == far else {"depth_range_m": [near, far]}
    if mounting is not None and mounting.rgb is not None:
        content["rgb"] = _camera_content(mounting.rgb)
    if mounting is not None and mounting.lidar is not None:
        content["lidar"] = {
            "frame_id": mounting.lidar_frame,
            "rotation": mounting.lidar.rotation.tolist(),
            "translation_m": mounting.lidar.translation_m.tolist(),
        }
    content["source"] = calibration.source
    text: str = yaml.safe_dump(content, sort_keys=False, default_flow_style=None)
    return text


def _size_content(size: tuple[int, int]) -> dict[str, Any]:
    return {"width": size[1], "height": size[0]}


def _camera_content(camera: Intrinsics) -> dict[str, Any]:
    return {
        **_size_content(camera.size),
        "distortion_model": camera.model,
        "d": [float(value) for value in camera.coefficients],
        "k": camera.matrix.tolist(),
    }


def _homography(file: _HomographyFile) -> Calibration:
    matrix = _matrix(file.homography, "homography")
    return Calibration(file.rgb.size, file.thermal.size, matrix, str(file.source))


def _rig(file: _RigFile) -> RigCalibration:
    if file.homography is not None:
        raise RegistrationError("it holds a homography and an extrinsic, expected one of the two")
    if (file.plane_distance_m is None) == (file.depth_range_m is None):
        raise RegistrationError(
            "it holds both or neither of plane_distance_m and depth_range_m, expected one"
        )
    near, far = file.depth_range_m or (file.plane_distance_m or 0.0,) * 2
    if math.isinf(near):
        raise RegistrationError(f"the depth is {near}, expected metres")
    return RigCalibration(
        _intrinsics(file.rgb, "rgb"),
        _intrinsics(file.thermal, "thermal"),
        rotation_matrix(_matrix(file.extrinsic.rotation, "rotation")),
        np.asarray(file.extrinsic.translation_m, np.float64),
        near,
        far,
        str(file.source),
    )


def _intrinsics(camera: _Camera, name: str) -> Intrinsics:
    if camera.k is None:
        raise RegistrationError(f"{name} has no k; a rig needs the intrinsics of both cameras")
    try:
        matrix = _matrix(camera.k, "k")
        check_whole_image(camera)
        return Intrinsics(
            camera.size,
            matrix.reshape(3, 3) if matrix.size == 9 else matrix,
            camera.distortion_model,
            camera.d,
        )
    except RegistrationError as err:
        raise RegistrationError(f"{name}: {err}") from err


def _matrix(rows: Numbers, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(rows, np.float64)
    except ValueError as err:
        raise RegistrationError(f"{name} has rows of different lengths: {rows}") from err


def rotation_matrix(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a 3x3 matrix for a quaternion (x, y, z, w); other arrays are returned as they are.

    Raises:
        RegistrationError: the quaternion is not of length 1.
    """
    if rotation.shape != (4,):
        return rotation
    length = float(np.linalg.norm(rotation))
    if not abs(length - 1.0) < 1e-2:
        raise RegistrationError(
            f"the quaternion {rotation.tolist()} has length {length:.4g}, expected 1 (x, y, z, w)"
        )
    x, y, z, w = rotation / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
