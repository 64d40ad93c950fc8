# SPDX-License-Identifier: Apache-2.0
"""Calibrations as YAML files; docs/calibration.md describes the fields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from segmif_ros.registration.calibration import Calibration, RigCalibration
from segmif_ros.registration.errors import RegistrationError
from segmif_ros.registration.lens import Intrinsics

_HOMOGRAPHY_FIELDS = {"rgb", "thermal", "homography", "source"}
_RIG_FIELDS = {"rgb", "thermal", "extrinsic", "plane_distance_m", "depth_range_m", "source"}
_IGNORED = {"header", "r", "p", "binning_x", "binning_y", "roi"}
"""Printed by `ros2 topic echo` of a camera_info; about rectified or partly read-out images."""
_CAMERA_FIELDS = {"width", "height", "k", "d", "distortion_model"} | _IGNORED


def load_calibration(path: str | Path) -> Calibration | RigCalibration:
    """Read a calibration file.

    Raises:
        RegistrationError: unreadable, a field missing, unknown or malformed, or values that are
            no calibration; the message names the file and the value.
    """
    name = f"calibration {str(path)!r}"
    try:
        raw: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as err:
        raise RegistrationError(
            f"{name} cannot be read: {' '.join(str(err).split())}; give the path of a calibration "
            "YAML"
        ) from err
    try:
        return _parse(raw)
    except RegistrationError as err:
        raise RegistrationError(f"{name}: {err} (docs/calibration.md); calibrate again") from err
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as err:
        raise RegistrationError(
            f"{name}: {err} is missing or malformed; expected rgb and thermal with width and "
            "height, and a 3x3 homography or an extrinsic (docs/calibration.md)"
        ) from err


def save_calibration(calibration: Calibration | RigCalibration, path: str | Path) -> None:
    """Write a file that `load_calibration` reads; a half-written one is never seen.

    Args:
        calibration: what to write.
        path: the file; folders are made.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.write_text(calibration_yaml(calibration), encoding="utf-8")
    part.replace(target)


def calibration_yaml(calibration: Calibration | RigCalibration) -> str:
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


def _parse(raw: Any) -> Calibration | RigCalibration:
    if not isinstance(raw, Mapping):
        raise TypeError(f"the content, {str(raw)[:40]!r},")
    if "extrinsic" not in raw:
        return _homography(raw)
    if "homography" in raw:
        raise RegistrationError("it holds a homography and an extrinsic, expected one of the two")
    return _rig(raw)


def _homography(raw: Any) -> Calibration:
    _refuse_unknown(raw, _HOMOGRAPHY_FIELDS, "the file")
    return Calibration(
        _size(raw["rgb"]),
        _size(raw["thermal"]),
        np.asarray(raw["homography"], np.float64),
        str(raw.get("source", "")),
    )


def _rig(raw: Any) -> RigCalibration:
    _refuse_unknown(raw, _RIG_FIELDS, "the file")
    extrinsic = raw["extrinsic"]
    _refuse_unknown(extrinsic, {"rotation", "translation_m"}, "extrinsic")
    if ("plane_distance_m" in raw) == ("depth_range_m" in raw):
        raise RegistrationError(
            "it holds both or neither of plane_distance_m and depth_range_m, expected one"
        )
    if "plane_distance_m" in raw:
        near = far = float(raw["plane_distance_m"])
    else:
        near, far = (float(value) for value in raw["depth_range_m"])
    if math.isinf(near):
        raise RegistrationError(f"the depth is {near}, expected metres")
    return RigCalibration(
        _camera(raw["rgb"], "rgb"),
        _camera(raw["thermal"], "thermal"),
        rotation_matrix(np.asarray(extrinsic["rotation"], np.float64)),
        np.asarray(extrinsic["translation_m"], np.float64),
        near,
        far,
        str(raw.get("source", "")),
    )


def _camera(raw: Any, name: str) -> Intrinsics:
    _refuse_unknown(raw, _CAMERA_FIELDS, name)
    if "k" not in raw:
        raise RegistrationError(f"{name} has no k; a rig needs the intrinsics of both cameras")
    size, matrix = _size(raw), np.asarray(raw["k"], np.float64)
    try:
        check_whole_image(raw)
        return Intrinsics(
            size,
            matrix.reshape(3, 3) if matrix.size == 9 else matrix,
            str(raw.get("distortion_model", "plumb_bob")),
            tuple(float(value) for value in raw.get("d", ())),
        )
    except RegistrationError as err:
        raise RegistrationError(f"{name}: {err}") from err


def check_whole_image(facts: Mapping[str, Any]) -> None:
    """Refuse intrinsics of a camera that is binned or read out in part: K is of the full image.

    Args:
        facts: fields of a `sensor_msgs/CameraInfo`, those that are given.

    Raises:
        RegistrationError: binning above 1, or a region of interest.
    """
    binning = [int(facts.get(name, 0)) for name in ("binning_x", "binning_y")]
    if max(binning) > 1:
        raise RegistrationError(f"binning is {binning}, expected none: k is for the whole sensor")
    roi = facts.get("roi") or {}
    found = [int(roi.get(name, 0)) for name in ("x_offset", "y_offset", "width", "height")]
    whole = [0, 0, int(facts["width"]), int(facts["height"])]
    if found not in ([0, 0, 0, 0], whole):
        raise RegistrationError(f"roi is {found} (x, y, width, height), expected the whole image")


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


def _size(raw: Any) -> tuple[int, int]:
    return _whole(raw["height"]), _whole(raw["width"])


def _whole(value: Any) -> int:
    number = float(value)
    if not number.is_integer():
        raise ValueError(f"{value!r}, expected a whole number,")
    return int(number)


def _refuse_unknown(raw: Any, known: set[str], name: str) -> None:
    unknown = sorted(str(key) for key in set(raw) - known)
    if unknown:
        raise RegistrationError(
            f"{name} holds {', '.join(unknown)}, expected only {', '.join(sorted(known))}"
        )
