# SPDX-License-Identifier: Apache-2.0
"""Thermal pixels must land where the calibration says, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from segmif_ros.frames import Image8
from segmif_ros.registration import (
    Calibration,
    Registration,
    RegistrationError,
    load_calibration,
    save_calibration,
)

RGB = (480, 640)
THERMAL = (256, 320)
# Twice as large, shifted, a little turned, with perspective.
HOMOGRAPHY = np.array([[1.9, 0.06, 20.0], [-0.05, 1.8, 15.0], [1e-5, 4e-5, 1.0]])
GOOD: dict[str, Any] = {
    "rgb": {"width": 640, "height": 480},
    "thermal": {"width": 320, "height": 256},
    "homography": HOMOGRAPHY.tolist(),
    "source": "checkerboard, 20 views",
}


def to_rgb(point: tuple[float, float], homography: NDArray[np.float64] = HOMOGRAPHY) -> Any:
    x, y, w = homography @ (*point, 1.0)
    return np.array([x / w, y / w])


def blob(point: tuple[float, float], size: tuple[int, int] = THERMAL) -> Image8:
    """A smooth spot, so that its centre is known to a fraction of a pixel."""
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]]
    squared = (xs - point[0]) ** 2 + (ys - point[1]) ** 2
    return np.round(255.0 * np.exp(-squared / 18.0)).astype(np.uint8)


def centre(image: Image8) -> Any:
    ys, xs = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    weight = image.astype(float)
    return np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()


def calibrated(homography: NDArray[np.float64] = HOMOGRAPHY) -> Registration:
    return Registration(Calibration(RGB, THERMAL, homography, "test"))


def test_frames_of_one_size_pass_without_a_copy() -> None:
    frame = blob((100, 100))
    registration = Registration()
    assert registration.apply(frame, THERMAL) is frame
    assert "taken as registered" in registration.describe()


def test_without_a_calibration_frames_are_scaled() -> None:
    registration = Registration()
    out = registration.apply(blob((100.0, 60.0)), RGB)
    assert out.shape == RGB
    # Pixel centres: x' = (x + 0.5) * 2 - 0.5 over the width, 1.875 over the height.
    np.testing.assert_allclose(centre(out), [200.5, 60.5 * 1.875 - 0.5], atol=0.1)
    assert (registration.valid_area(THERMAL, RGB) == 255).all()


def test_the_identity_changes_nothing() -> None:
    frame = np.random.default_rng(0).integers(0, 256, RGB, np.uint8)
    registration = Registration(Calibration(RGB, RGB, np.eye(3)))
    np.testing.assert_array_equal(registration.apply(frame, RGB), frame)
    assert (registration.valid_area(RGB, RGB) == 255).all()


@pytest.mark.parametrize("scale", [1.0, -3.0, 1e-6])
@pytest.mark.parametrize("point", [(40.0, 30.0), (160.0, 128.0), (290.0, 60.0), (70.5, 220.25)])
def test_a_point_lands_within_half_a_pixel(point: tuple[float, float], scale: float) -> None:
    out = calibrated(scale * HOMOGRAPHY).apply(blob(point), RGB)
    assert out.shape == RGB
    assert np.abs(centre(out) - to_rgb(point)).max() < 0.5


def test_a_shift_by_whole_pixels_is_exact() -> None:
    frame = np.random.default_rng(1).integers(1, 256, THERMAL, np.uint8)
    out = calibrated(np.array([[1.0, 0, 37], [0, 1, 11], [0, 0, 1]])).apply(frame, RGB)
    np.testing.assert_array_equal(out[11 : 11 + 256, 37 : 37 + 320], frame)
    out[11 : 11 + 256, 37 : 37 + 320] = 0
    assert not out.any()


def test_the_valid_area_is_exactly_where_there_is_data() -> None:
    registration = calibrated()
    out = registration.apply(np.full(THERMAL, 200, np.uint8), RGB)
    valid = registration.valid_area(THERMAL, RGB)
    assert valid.dtype == np.uint8
    assert set(np.unique(valid)) == {0, 255}
    np.testing.assert_array_equal(out, np.where(valid == 255, 200, 0))
    corners = np.array([to_rgb(p) for p in ((0, 0), (319, 0), (319, 255), (0, 255))])
    x, y = corners.T
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    assert np.count_nonzero(valid) == pytest.approx(area, rel=0.01)


def test_the_valid_area_needs_no_frame_first() -> None:
    first = calibrated().valid_area(THERMAL, RGB)
    used = calibrated()
    used.apply(blob((100, 100)), RGB)
    np.testing.assert_array_equal(first, used.valid_area(THERMAL, RGB))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_lies_behind_the_camera_stays_black(sign: float) -> None:
    """The line at infinity crosses both images, and most RGB pixels lie beyond it."""
    tilted = np.array([[1.0, 0.0, 20.0], [0.0, 1.0, 20.0], [-0.006, 0.0, 1.0]])
    shifted = np.array([[1.0, 0.0, 500.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ tilted
    registration = calibrated(sign * shifted)
    frame = np.full(THERMAL, 200, np.uint8)
    frame[:, 166:] = 90  # columns right of 1 / 0.006 have negative depth
    out = registration.apply(frame, RGB)
    assert set(np.unique(out)) == {0, 200}
    assert to_rgb((0.0, 100.0), shifted)[0] == pytest.approx(520.0)
    assert not out[:, :519].any()
    assert out[200, 525:].all()


def test_a_wrong_frame_size_is_refused_with_both_sizes() -> None:
    registration = calibrated()
    for thermal, rgb in ((THERMAL, (720, 1280)), ((512, 640), RGB), (THERMAL[::-1], RGB)):
        with pytest.raises(RegistrationError) as caught:
            registration.apply(np.zeros(thermal, np.uint8), rgb)
        message = str(caught.value)
        assert str(thermal) in message
        assert str(rgb) in message
        assert "calibrate again" in message
    with pytest.raises(RegistrationError, match="calibrate again"):
        registration.valid_area((512, 640), RGB)
    assert registration.apply(blob((100, 100)), RGB).any()


def test_images_that_do_not_overlap_are_refused() -> None:
    far = np.array([[1.0, 0, 5000], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(RegistrationError, match=r"\(test\) puts the whole .* outside"):
        calibrated(far).apply(blob((100, 100)), RGB)


def test_views_into_messages_are_warped_like_their_copies() -> None:
    padded = np.random.default_rng(2).integers(0, 256, (256, 384), np.uint8)
    view = padded[:, :320]
    view.flags.writeable = False
    np.testing.assert_array_equal(
        calibrated().apply(view, RGB), calibrated().apply(view.copy(), RGB)
    )


def write(folder: Path, content: object) -> Path:
    path = folder / "rig.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_a_calibration_file_is_read(tmp_path: Path) -> None:
    calibration = load_calibration(str(write(tmp_path, GOOD)))
    assert calibration.rgb_size == RGB
    assert calibration.thermal_size == THERMAL
    np.testing.assert_array_equal(calibration.homography, HOMOGRAPHY)
    assert "checkerboard, 20 views" in Registration(calibration).describe()
    assert "no source given" in Registration(Calibration(RGB, THERMAL, HOMOGRAPHY)).describe()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "the content is None"),
        ("homography: [", "cannot be read"),
        ("- 1\n- 2\n", "the content is [1, 2]"),
        ("just words", "the content is 'just words'"),
        ({**GOOD, "rgb": {"width": 640}}, "'height' is missing"),
        ({k: v for k, v in GOOD.items() if k != "homography"}, "'homography' is missing"),
        ({k: v for k, v in GOOD.items() if k != "thermal"}, "'thermal' is missing"),
        ({**GOOD, "thermal": {"width": "wide", "height": 256}}, "'wide'"),
        ({**GOOD, "thermal": {"width": 0, "height": 256}}, "(256, 0)"),
        ({**GOOD, "rgb": {"width": 640, "height": -480}}, "(-480, 640)"),
        ({**GOOD, "homography": [[1, 0], [0, 1]]}, "shape (2, 2)"),
        ({**GOOD, "homography": [[1, 0, 0], [0, 1]]}, "homography has rows of different lengths"),
        ({**GOOD, "homography": [[1, 0, "x"], [0, 1, 0], [0, 0, 1]]}, "'x'"),
        ({**GOOD, "homography": [[1, 0, 0], [0, 1, 0], [0, 0, float("nan")]]}, "nan"),
        ({**GOOD, "homography": [[1, 0, 0], [2, 0, 0], [0, 0, 1]]}, "singular"),
        ({**GOOD, "homography": [[0, 0, 0]] * 3}, "singular"),
    ],
)
def test_a_bad_calibration_names_the_file_and_the_value(
    tmp_path: Path, content: object, named: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(RegistrationError) as caught:
        load_calibration(path)
    message = str(caught.value)
    assert str(path) in message
    assert named in message
    assert "expected" in message or "give the path" in message or "calibrate again" in message


def test_an_absent_or_binary_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    (tmp_path / "deep.yaml").write_text("[" * 3000)
    for name in ("absent.yaml", "binary.yaml", "deep.yaml", "."):
        with pytest.raises(RegistrationError, match="cannot be read") as caught:
            load_calibration(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_saved_calibration_is_the_one_that_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rig.yaml"
    save_calibration(Calibration(RGB, THERMAL, HOMOGRAPHY, "test"), path)
    read = load_calibration(path)
    assert (read.rgb_size, read.thermal_size, read.source) == (RGB, THERMAL, "test")
    np.testing.assert_array_equal(read.homography, HOMOGRAPHY)
    assert [each.name for each in path.parent.iterdir()] == ["rig.yaml"]
