# SPDX-License-Identifier: Apache-2.0
"""The public library: its examples run, and it is no more than what its page lists."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import segmif_ros
from segmif_ros import Calibration, PictureError, RegistrationError, Segmif, ThermalSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
MODULES = ("api", "bundle", "pairing", "perceiver")
ROOMS = ("metrics.boxes", "metrics.fusion", "metrics.segmentation")
RGB = np.full((480, 640, 3), 90, np.uint8)


@pytest.mark.parametrize("module", [*MODULES, *ROOMS, "registration.warp", "thermal.normaliser"])
def test_the_examples_of_docstrings_run(module: str) -> None:
    done = doctest.testmod(import_module(f"segmif_ros.{module}"))
    assert done.attempted
    assert not done.failed


def test_the_examples_of_the_page_run() -> None:
    done = doctest.testfile(str(PAGE), module_relative=False)
    assert done.attempted
    assert not done.failed


def test_the_page_lists_every_public_name() -> None:
    named = set(re.findall(r"\b(\w+)\b", PAGE.read_text(encoding="utf-8")))
    inside = {"__version__", "EngineOptions", "LabelClass", "SegmifResult"}
    assert set(segmif_ros.__all__) - named == inside
    assert set(segmif_ros.__all__) <= set(dir(segmif_ros))
    assert all(getattr(segmif_ros, name) is not None for name in segmif_ros.__all__)
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        segmif_ros.segment  # noqa: B018


def test_it_loads_neither_ros_nor_torch_and_a_bare_import_loads_nothing() -> None:
    code = (
        "import sys, segmif_ros\n"
        "print([name for name in sys.modules if name == 'numpy' or 'segmif_ros.' in name])\n"
        "from segmif_ros import *\n"
        "print(sorted({'rclpy', 'torch', 'sensor_msgs'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


@pytest.fixture
def tiny(tiny_bundle: Path) -> Segmif:
    return Segmif(tiny_bundle, engine="onnxruntime")


def test_results_are_the_callers_own(tiny: Segmif) -> None:
    first = tiny(RGB, np.full((480, 640), 40, np.uint8))
    before = first.fused.copy(), first.mask.copy()
    tiny(RGB // 2, np.full((480, 640), 200, np.uint8))
    assert (first.fused == before[0]).all()
    assert (first.mask == before[1]).all()


def test_a_pair_without_a_stamp_is_rendered_by_itself_and_frames_of_a_video_are_not(
    tiny: Segmif,
) -> None:
    ramp = np.tile(np.linspace(1000, 2000, 640), (480, 1)).astype(np.uint16)
    cold, hot = ramp, ramp + 5000
    assert (tiny(RGB, cold).thermal == tiny(RGB, hot).thermal).all()
    tiny(RGB, cold, stamp_ns=1)
    assert tiny(RGB, hot, stamp_ns=50_000_000).thermal.min() > 200


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_thermal_of_every_kind_and_size(tiny: Segmif, kind: type) -> None:
    thermal = np.tile(np.linspace(0, 200, 160), (120, 1)).astype(kind)
    result = tiny(RGB, thermal)
    assert result.thermal.shape == result.mask.shape == (480, 640)
    assert result.temperature is not None
    assert result.temperature[240, 320] == pytest.approx(100, abs=2)


def test_one_camera_alone(tiny: Segmif) -> None:
    result = tiny(RGB)
    assert (result.fused == RGB).all()
    assert result.temperature is None
    warm = tiny(None, np.full((512, 640), 30000, np.uint16))
    assert warm.fused.shape == (512, 640, 3)
    with pytest.raises(ValueError, match="RGB image, a thermal image or both"):
        tiny(None)


def test_a_calibration_warps_thermal_and_its_values(tiny_bundle: Path) -> None:
    geometry = Calibration((480, 640), (240, 320), np.diag([1.0, 1.0, 1.0]))
    with Segmif(
        tiny_bundle,
        engine="onnxruntime",
        calibration=geometry,
        thermal=ThermalSettings(scale=0.1, offset=-20.0),
    ) as segmif:
        result = segmif(RGB, np.full((240, 320), 300, np.uint16))
        with pytest.raises(RegistrationError, match="calibrate again at this resolution"):
            segmif(RGB, np.zeros((10, 10), np.uint8))
    assert result.temperature is not None
    assert result.temperature[100, 100] == pytest.approx(10.0)
    assert np.isnan(result.temperature[300, 400])


@pytest.mark.parametrize(
    ("rgb", "thermal", "words"),
    [
        (RGB[..., 0], RGB[..., 0], "rgb is uint8 of shape"),
        (RGB / 255.0, None, "rgb is float64"),
        (np.dstack([RGB, RGB[..., :1]]), None, r"rgb is uint8 of shape \(480, 640, 4\)"),
        (RGB, RGB, r"thermal is uint8 of shape \(480, 640, 3\)"),
        (RGB, RGB[..., 0].astype(np.int32), "thermal is int32"),
        (RGB[:0], None, "rgb is uint8 of shape"),
    ],
)
def test_arrays_of_other_shapes_are_named(
    tiny: Segmif, rgb: object, thermal: object, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        tiny(rgb, thermal)


def test_settings_out_of_range_are_named_before_anything_is_opened() -> None:
    with pytest.raises(ValueError, match="confidence_threshold is 2"):
        Segmif("nowhere", confidence_threshold=2.0)
    with pytest.raises(KeyError, match="no class 'cat'"):
        Segmif("segmif-nano", engine="null")(RGB).share("cat")
    assert issubclass(PictureError, ValueError)
