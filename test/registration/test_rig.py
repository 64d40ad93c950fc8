# SPDX-License-Identifier: Apache-2.0
"""A calibrated rig: thermal lands where projection through both cameras says, to 0.3 px.

The truth is the virtual rig's own projection of street points (`Pose`), with OpenCV's lenses.
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from true_calibration import rig_calibration

from segmif_ros.registration import (
    Calibration,
    Intrinsics,
    Registration,
    RegistrationError,
    RigCalibration,
    load_calibration,
    save_calibration,
)
from segmif_ros.registration.warp import remap_table
from segmif_ros.rig.cameras.cameras import Camera, Rig, place

RIG = Rig.default()
RGB, THERMAL = (480, 640), (512, 640)
Lens = tuple[str, tuple[float, ...]]
STRAIGHT: Lens = ("plumb_bob", ())
BARREL: Lens = ("plumb_bob", (-0.28, 0.09, 0.0008, -0.0006, -0.01))
RATIONAL: Lens = ("rational_polynomial", (4.1, 2.0, 0.0004, -0.0003, 0.1, 4.4, 3.3, 0.6))
FISHEYE: Lens = ("equidistant", (-0.02, 0.004, -0.002, 0.0005))


def bent(rgb: Lens, thermal: Lens, depth_m: tuple[float, float] = (18.0, 18.0)) -> RigCalibration:
    """The virtual rig with other lenses in front of the same sensors."""
    rig = rig_calibration(RIG, seed=1, depth_m=depth_m)
    return replace(
        rig,
        rgb=Intrinsics(rig.rgb.size, rig.rgb.matrix, *rgb),
        thermal=Intrinsics(rig.thermal.size, rig.thermal.matrix, *thermal),
    )


@cache
def registered(rgb: Lens, thermal: Lens) -> Registration:
    """Its table takes a while, and no test changes it."""
    return Registration(bent(rgb, thermal))


def seen_by(mounted: Camera, lens: Lens, street: NDArray[np.float64]) -> Any:
    """Pixels of street points: the rig's own pose, OpenCV's lens."""
    points = place(mounted, (0.3, 1.5, 2.0), 0.2, 0.05).to_camera(street)
    model, d = lens
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    pixels, _ = project(
        points[:, None],
        np.zeros(3),
        np.zeros(3),
        mounted.intrinsics.matrix,
        np.array(d) if d else np.zeros(4),
    )
    return pixels.reshape(-1, 2)


def street_points(depth_m: float, count: int = 400) -> NDArray[np.float64]:
    """Points in street coordinates, all over the RGB view at one depth along its axis."""
    pose = place(RIG.rgb, (0.3, 1.5, 2.0), 0.2, 0.05)
    k = RIG.rgb.intrinsics
    pixels = np.random.default_rng(5).uniform((40, 40), (k.width - 41, k.height - 41), (count, 2))
    rays = (np.column_stack([pixels, np.ones(count)]) @ np.linalg.inv(k.matrix).T) * depth_m
    points: NDArray[np.float64] = rays @ pose.rotation + pose.centre
    return points


def looked_up(calibration: RigCalibration, rgb_pixels: NDArray[np.float64]) -> Any:
    """Thermal pixels that the node's own table reads at (fractional) RGB pixels."""
    table = remap_table(calibration)
    exact = np.dstack([table.x, table.y])
    x, y = rgb_pixels.T.astype(np.float32)
    return cv2.remap(exact, x[None], y[None], cv2.INTER_LINEAR)[0]


@pytest.mark.parametrize(
    ("rgb", "thermal"),
    [
        (STRAIGHT, STRAIGHT),
        (BARREL, STRAIGHT),
        (STRAIGHT, BARREL),
        (BARREL, RATIONAL),
        (FISHEYE, BARREL),
        (RATIONAL, FISHEYE),
        (FISHEYE, FISHEYE),
    ],
)
def test_street_points_at_the_plane_are_found_within_a_tenth_of_a_pixel(
    rgb: Lens, thermal: Lens
) -> None:
    street = street_points(18.0)
    in_rgb, in_thermal = seen_by(RIG.rgb, rgb, street), seen_by(RIG.thermal, thermal, street)
    inside = ((in_rgb > 1) & (in_rgb < (638, 478))).all(axis=1)
    inside &= ((in_thermal > 1) & (in_thermal < (638, 510))).all(axis=1)
    assert inside.sum() > 300
    found = looked_up(bent(rgb, thermal), in_rgb[inside])
    errors = np.linalg.norm(found - in_thermal[inside], axis=1)
    assert errors.max() < 0.1


def test_a_warm_spot_lands_on_the_pixel_where_rgb_sees_it() -> None:
    """Through the whole path: a thermal picture in, a registered picture out."""
    registration = registered(BARREL, BARREL)
    ys, xs = np.mgrid[0 : THERMAL[0], 0 : THERMAL[1]]
    errors = []
    for number in range(12):
        street = street_points(18.0)[number : number + 1]
        (x, y), truth = seen_by(RIG.thermal, BARREL, street)[0], seen_by(RIG.rgb, BARREL, street)[0]
        spot = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 18.0)
        out = registration.apply(np.round(255 * spot).astype(np.uint8), RGB).astype(float)
        v, u = np.mgrid[0 : RGB[0], 0 : RGB[1]]
        found = np.array([(u * out).sum(), (v * out).sum()]) / out.sum()
        errors.append(float(np.linalg.norm(found - truth)))
    assert max(errors) < 0.3


@pytest.mark.parametrize("ends", [(5.0, 40.0), (8.0, float("inf")), (2.0, 6.0)])
def test_a_depth_range_splits_the_parallax_evenly_and_says_how_much(
    ends: tuple[float, float],
) -> None:
    calibration = bent(STRAIGHT, STRAIGHT, ends)
    near, far = (calibration.parallax_px(depth) for depth in ends)
    assert near == pytest.approx(far, rel=0.05)
    expected = 554.3 * 0.0906 * 0.5 * (1 / ends[0] - 1 / ends[1])  # f * b * |1/z - 1/d|
    assert near == pytest.approx(expected, rel=0.05)
    assert calibration.parallax_px(calibration.plane_m) < 1e-6
    # The street itself agrees: points at the near end are off by what is announced.
    street = street_points(ends[0])
    in_thermal = seen_by(RIG.thermal, STRAIGHT, street)
    shown_at, _ = _inverse(calibration, in_thermal)
    errors = np.linalg.norm(shown_at - seen_by(RIG.rgb, STRAIGHT, street), axis=1)
    assert errors.max() == pytest.approx(near, rel=0.1)
    text = Registration(calibration).describe()
    assert f"{near:.1f} px at {ends[0]:g} m" in text
    assert f"px at {ends[1]:g} m" in text


def _inverse(calibration: RigCalibration, thermal: NDArray[np.float64]) -> Any:
    """RGB pixels at which thermal pixels are shown, for straight lenses: a homography."""
    corners = np.array([[0.0, 0.0], [639.0, 0.0], [639.0, 479.0], [0.0, 479.0]])
    there, _ = calibration.to_thermal(corners)
    matrix = cv2.getPerspectiveTransform(there.astype(np.float32), corners.astype(np.float32))
    return cv2.perspectiveTransform(thermal[None], matrix)[0], matrix


def test_the_valid_area_is_where_the_thermal_camera_sees() -> None:
    """A narrow thermal camera in front of a wide RGB one: a hole all around, and 0 there."""
    calibration = bent(STRAIGHT, BARREL)
    narrow = Intrinsics(THERMAL, np.array([[900.0, 0, 320], [0, 900.0, 256], [0, 0, 1]]), *BARREL)
    registration = Registration(replace(calibration, thermal=narrow))
    valid = registration.valid_area(THERMAL, RGB)
    out = registration.apply(np.full(THERMAL, 200, np.uint8), RGB)
    np.testing.assert_array_equal(out, np.where(valid == 255, 200, 0))
    share = np.count_nonzero(valid) / valid.size
    assert 0.2 < share < 0.6
    assert f"covers {100 * share:.0f} % of RGB" in registration.describe()


def test_a_strong_lens_shows_nothing_twice() -> None:
    """Beyond the lens's turning point the polynomial leads back into the thermal image."""
    strong: Lens = ("plumb_bob", (-0.9, 0.0, 0.0, 0.0, 0.0))
    calibration = bent(STRAIGHT, strong)
    wide = Intrinsics(RGB, np.array([[150.0, 0, 320], [0, 150.0, 240], [0, 0, 1]]))
    valid = Registration(replace(calibration, rgb=wide)).valid_area(THERMAL, RGB)
    assert valid[240, 320] == 255
    count, _ = cv2.connectedComponents(valid)
    assert count == 2  # background and one area
    assert not valid[:, :150].any()  # further out than the turning point at 0.61 focal lengths
    assert not valid[:, 500:].any()


def test_output_may_be_given() -> None:
    registration = registered(BARREL, BARREL)
    frame = np.random.default_rng(0).integers(0, 256, THERMAL, np.uint8)
    out = np.full(RGB, 77, np.uint8)
    assert registration.apply(frame, RGB, out) is out
    np.testing.assert_array_equal(out, registration.apply(frame, RGB))


def test_a_frame_costs_no_more_than_with_a_homography() -> None:
    """One remap either way; CPU time, the faster half of many runs."""
    frame = np.random.default_rng(0).integers(0, 256, THERMAL, np.uint8)
    homography = RIG.thermal_to_rgb_homography(18.0)
    both = [Registration(Calibration(RGB, THERMAL, homography)), registered(BARREL, BARREL)]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    times: list[list[int]] = [[], []]
    for _ in range(60):
        for registration, taken in zip(both, times, strict=True):
            started = time.process_time_ns()
            registration.apply(frame, RGB)
            taken.append(time.process_time_ns() - started)
    cv2.setNumThreads(threads)
    plain, rig = (sorted(taken)[len(taken) // 4] for taken in times)
    assert rig < 1.5 * plain


@pytest.mark.parametrize("ends", [(18.0, 18.0), (5.0, float("inf"))])
def test_a_saved_rig_is_the_one_that_is_loaded(tmp_path: Path, ends: tuple[float, float]) -> None:
    calibration = bent(RATIONAL, FISHEYE, ends)
    save_calibration(calibration, tmp_path / "rig.yaml")
    read = load_calibration(tmp_path / "rig.yaml")
    assert isinstance(read, RigCalibration)
    assert (read.nearest_m, read.furthest_m, read.source) == (*ends, "virtual rig, seed 1")
    for mine, theirs in ((calibration.rgb, read.rgb), (calibration.thermal, read.thermal)):
        assert (mine.size, mine.model, mine.coefficients) == (
            theirs.size,
            theirs.model,
            theirs.coefficients,
        )
        np.testing.assert_array_equal(mine.matrix, theirs.matrix)
    np.testing.assert_allclose(read.rotation, calibration.rotation, atol=1e-15)
    np.testing.assert_array_equal(read.translation_m, calibration.translation_m)


CAMERA = {
    "header": {"frame_id": "rgb"},
    "width": 640,
    "height": 480,
    "distortion_model": "plumb_bob",
    "d": [-0.3, 0.1, 0.0, 0.0, 0.0],
    "k": [560.0, 0.0, 320.0, 0.0, 560.0, 240.0, 0.0, 0.0, 1.0],
    "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    "p": [560.0, 0.0, 320.0, 0.0, 0.0, 560.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    "binning_x": 0,
    "binning_y": 0,
    "roi": {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False},
}
GOOD: dict[str, Any] = {
    "rgb": CAMERA,
    "thermal": {**CAMERA, "distortion_model": "equidistant", "d": [0.0, 0.0, 0.0, 0.0]},
    "extrinsic": {"rotation": [0.0, 0.0, 0.0, 1.0], "translation_m": [-0.1, 0.0, 0.0]},
    "plane_distance_m": 15,
}


def read(folder: Path, content: object) -> RigCalibration:
    path = folder / "rig.yaml"
    path.write_text(yaml.safe_dump(content))
    found = load_calibration(path)
    assert isinstance(found, RigCalibration)
    return found


def test_a_pasted_camera_info_is_read(tmp_path: Path) -> None:
    calibration = read(tmp_path, GOOD)
    assert calibration.rgb.size == (480, 640)
    assert calibration.rgb.matrix[1].tolist() == [0.0, 560.0, 240.0]
    assert calibration.thermal.model == "equidistant"
    assert calibration.plane_m == 15.0
    assert calibration.parallax_px(30.0) == pytest.approx(560 * 0.1 / 30, rel=0.2)


def test_a_quaternion_turns_as_tf_turns(tmp_path: Path) -> None:
    """x, y, z, w of 90 degrees about z takes x to y."""
    half = float(np.sqrt(0.5))
    turned = {"rotation": [0.0, 0.0, half, half], "translation_m": [0.0, 0.0, 0.0]}
    calibration = read(tmp_path, {**GOOD, "extrinsic": turned})
    np.testing.assert_allclose(calibration.rotation @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-12)
    general = np.array([0.1, -0.2, 0.3, 0.9])
    general /= np.linalg.norm(general)
    angle = 2 * np.arccos(general[3])
    expected, _ = cv2.Rodrigues(general[:3] / np.linalg.norm(general[:3]) * angle)
    extrinsic = {"rotation": general.tolist(), "translation_m": [0.0, 0.0, 0.0]}
    found = read(tmp_path, {**GOOD, "extrinsic": extrinsic}).rotation
    np.testing.assert_allclose(found, expected, atol=1e-9)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


def camera_with(**fields: Any) -> dict[str, Any]:
    return {**GOOD, "rgb": {**CAMERA, **fields}}


def mounted(**fields: Any) -> dict[str, Any]:
    return {**GOOD, "extrinsic": {**GOOD["extrinsic"], **fields}}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (without("rgb"), "'rgb' is missing"),
        (without("plane_distance_m"), "both or neither of plane_distance_m and depth_range_m"),
        ({**GOOD, "depth_range_m": [5, 30]}, "both or neither"),
        ({**GOOD, "homography": np.eye(3).tolist()}, "a homography and an extrinsic"),
        (
            {**GOOD, "plane_distance": 18},
            "unknown field 'plane_distance'",
        ),
        ({**GOOD, "plane_distance_m": -3}, "-3 to -3 m"),
        ({**GOOD, "plane_distance_m": float("inf")}, "depth is inf"),
        ({**GOOD, "plane_distance_m": float("nan")}, "nan"),
        ({**GOOD, "plane_distance_m": "far"}, "'far'"),
        ({**without("plane_distance_m"), "depth_range_m": [30, 5]}, "30 to 5 m"),
        ({**without("plane_distance_m"), "depth_range_m": [5]}, "depth_range_m is [5]"),
        ({**without("plane_distance_m"), "depth_range_m": 5}, "depth_range_m is 5"),
        (camera_with(k=[0.0] * 9), "rgb: k[0] is 0: the camera is not calibrated"),
        (camera_with(k=[1.0] * 8), "expected 3x3"),
        (camera_with(distortion_model="kannala"), "rgb: distortion_model is 'kannala'"),
        (camera_with(d=[0.1]), "rgb: d is [0.1], expected 5"),
        (camera_with(width=0), "(480, 0)"),
        (camera_with(width=640.5), "rgb.width is 640.5, expected a whole number"),
        (camera_with(width=float("inf")), "rgb.width is inf, expected a whole number"),
        (camera_with(width=640_000), "(480, 640000), expected above 0 and at most 16384"),
        (camera_with(d=None), "rgb.d is None"),
        ({**GOOD, "rgb": None}, "rgb is None"),
        ({**GOOD, "rgb": [640, 480]}, "rgb is [640, 480]"),
        ({**GOOD, "extrinsic": None}, "extrinsic is None"),
        (camera_with(K=[1]), "unknown field 'rgb.K', expected only"),
        (camera_with(binning_x=2), "rgb: binning is [2, 0]"),
        (camera_with(roi={"x_offset": 8, "width": 320, "height": 240}), "rgb: roi is [8, 0, 320"),
        ({**GOOD, "thermal": {"width": 320, "height": 256}}, "thermal has no k"),
        (mounted(rotation=[[1, 0, 0], [0, 1, 0], [0, 0, -1]]), "determinant -1"),
        (mounted(rotation=[[1, 0, 0], [0, 2, 0], [0, 0, 1]]), "off by 3"),
        (mounted(rotation=[[0, 0, 0]] * 3), "is none"),
        (mounted(rotation=[0, 0, 0, 0.5]), "length 0.5, expected 1"),
        (mounted(rotation=[0, 0, 1]), "is not 3x3"),
        (mounted(rotation=[0, 0, 0, float("nan")]), "length nan"),
        (mounted(translation_m=[-90, 10, 0]), "give metres"),
        (mounted(translation_m=[0.1, 0.0]), "expected three"),
        (mounted(translation_m=[0.0, 0.0, float("nan")]), "nan"),
        ({**mounted(translation_m=[0.0, 0.0, 2.0]), "plane_distance_m": 1.5}, "in front of"),
        (mounted(euler=[0, 0, 0]), "unknown field 'extrinsic.euler', expected only rotation"),
    ],
)
def test_a_bad_rig_file_is_refused_with_one_line(
    tmp_path: Path, content: object, named: str
) -> None:
    with pytest.raises(RegistrationError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert str(tmp_path / "rig.yaml") in message
    assert named in message
    assert "\n" not in message


def test_cameras_that_look_apart_are_refused_when_the_table_is_made() -> None:
    turned = np.diag([-1.0, 1.0, -1.0])  # the thermal camera looks back
    with pytest.raises(RegistrationError, match=r"virtual rig, seed 1.*outside the RGB image"):
        Registration(replace(bent(STRAIGHT, STRAIGHT), rotation=turned))


def test_frames_of_another_resolution_are_refused() -> None:
    with pytest.raises(RegistrationError, match=r"thermal \(512, 640\).*\(256, 320\).*again"):
        registered(BARREL, BARREL).apply(np.zeros((256, 320), np.uint8), RGB)


@pytest.mark.parametrize(
    ("rgb", "thermal"), [((479, 641), (255, 319)), ((1, 1), (1, 1)), ((7, 3), (2, 9))]
)
def test_odd_and_tiny_sizes_are_sizes(rgb: tuple[int, int], thermal: tuple[int, int]) -> None:
    """One ray through the middle of both images: they meet there, whatever the size."""

    def camera(size: tuple[int, int]) -> Intrinsics:
        height, width = size
        matrix = np.array([[width, 0, (width - 1) / 2], [0, height, (height - 1) / 2], [0, 0, 1.0]])
        return Intrinsics(size, matrix)

    same_place = RigCalibration(camera(rgb), camera(thermal), np.eye(3), np.zeros(3), 5.0, 5.0)
    frame = np.random.default_rng(2).integers(100, 200, thermal, np.uint8)
    registration = Registration(same_place)
    out = registration.apply(frame, rgb)
    assert out.shape == rgb
    assert registration.valid_area(thermal, rgb)[rgb[0] // 2, rgb[1] // 2] == 255
    assert 100 <= out[rgb[0] // 2, rgb[1] // 2] < 200


JUNK: list[Any] = [
    None,
    "",
    "x",
    [],
    {},
    [[]],
    float("nan"),
    float("inf"),
    -1,
    0,
    1e300,
    True,
    10**400,
]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in the file, of a list the first one."""
    inner = value.items() if isinstance(value, dict) else []
    inner = [(0, value[0])] if isinstance(value, list) else inner
    return [path, *(found for key, each in inner for found in _paths(each, (*path, key)))]


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: str(junk)[:8])
def test_junk_anywhere_in_the_file_is_refused_or_harmless(tmp_path: Path, junk: Any) -> None:
    refused: list[str] = []
    for path in _paths(GOOD)[1:]:
        content = copy.deepcopy(GOOD)
        place_of = content
        for key in path[:-1]:
            place_of = place_of[key]
        place_of[path[-1]] = junk
        try:
            calibration = read(tmp_path, content)
        except RegistrationError as err:
            refused.append(str(err))
        else:
            assert np.isfinite(calibration.to_thermal(np.array([[320.0, 240.0]]))[0]).all()
            assert calibration.describe()
    assert len(refused) > 10
    assert not [text for text in refused if "\n" in text]
