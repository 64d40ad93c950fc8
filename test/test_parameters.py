# SPDX-License-Identifier: Apache-2.0
"""The table of parameters, and that the YAML and docs/parameters.md say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from doc_tables import parameter_table_markdown, parameters_yaml

from segmif_ros.pairing import MILLISECOND
from segmif_ros.parameters import (
    PARAMETERS,
    SPECS,
    Change,
    ParameterError,
    Settings,
)
from segmif_ros.ros.node.node_parameters import descriptor
from segmif_ros.share import share_path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "parameters.md"
BEGIN, END = "<!-- parameters -->", "<!-- /parameters -->"
DEFAULTS = {spec.name: spec.default for spec in PARAMETERS}


def test_the_shipped_yaml_is_the_table():
    shipped = share_path("config", "segmif.yaml").read_text()
    assert shipped == parameters_yaml(), "run scripts/doc_tables.py"
    assert yaml.safe_load(shipped) == {"/**": {"ros__parameters": DEFAULTS}}


def test_the_page_shows_the_table():
    text = PAGE.read_text()
    assert BEGIN in text
    block = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert block == parameter_table_markdown().strip(), "run scripts/doc_tables.py"


def test_every_row_is_complete_and_its_default_is_good():
    assert len(SPECS) == len(PARAMETERS)
    for spec in PARAMETERS:
        assert spec.text.endswith(".")
        assert spec.check(spec.default) is None
        if isinstance(spec.default, int | float) and not isinstance(spec.default, bool):
            assert spec.limits is not None, f"{spec.name} has no range"
        if spec.name.endswith("_ms"):
            assert spec.unit == "ms"
        if spec.name.endswith("_hz"):
            assert spec.unit == "Hz"


def test_descriptors_carry_ranges_units_and_read_only():
    tolerance = descriptor(SPECS["tolerance_ms"])
    assert tolerance.floating_point_range[0].to_value == 1000.0
    assert "unit: ms" in tolerance.additional_constraints
    assert descriptor(SPECS["queue_size"]).integer_range[0].from_value == 1
    assert "one of: auto, passthrough" in descriptor(SPECS["thermal_mode"]).additional_constraints
    assert descriptor(SPECS["autostart"]).read_only
    assert not descriptor(SPECS["model"]).read_only
    assert SPECS["model"].change is Change.UNCONFIGURED


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("tolerance_ms", -0.1, r"tolerance_ms is -0.1, expected 0 to 1000 ms"),
        ("tolerance_ms", float("nan"), "tolerance_ms is nan"),
        ("tolerance_ms", float("inf"), "tolerance_ms is inf"),
        ("tolerance_ms", "30", "tolerance_ms is '30' of type str"),
        ("tolerance_ms", True, "tolerance_ms is True of type bool"),
        ("tolerance_ms", None, "tolerance_ms is None"),
        ("queue_size", 0, "queue_size is 0, expected 1 to 1000 frames"),
        ("queue_size", 2.5, "queue_size is 2.5 of type float"),
        ("autostart", 1, "autostart is 1 of type int, expected bool"),
        ("engine", "warp", "engine is 'warp', expected auto, "),
        ("model", 7, "model is 7 of type int, expected string"),
    ],
)
def test_bad_values_are_named_with_what_was_expected(name, value, words):
    assert words in (SPECS[name].check(value) or "")
    with pytest.raises(ParameterError, match=name):
        Settings.from_values(DEFAULTS | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("tolerance_ms", 0), ("tolerance_ms", 1000.0), ("queue_size", 1), ("overlay_alpha", 1)],
)
def test_edges_of_ranges_and_whole_numbers_are_good(name, value):
    assert SPECS[name].check(value) is None


def test_settings_use_the_units_of_the_code():
    settings = Settings.from_values(
        DEFAULTS | {"tolerance_ms": 12.5, "thermal_offset_ms": -40, "thermal_mode": "range"}
    )
    assert settings.pairing.tolerance_ns == 12_500_000
    assert settings.pairing.thermal_offset_ns == -40 * MILLISECOND
    assert settings.thermal.mode == "range"
    assert (settings.latency_budget_warn_ms, settings.latency_budget_error_ms) == (200.0, 1000.0)


def test_a_window_in_degrees_is_drawn_from_centi_kelvin():
    thermal = Settings.from_values(
        DEFAULTS
        | {"thermal_scale": 0.01, "thermal_offset": -273.15, "thermal_low": 0, "thermal_high": 40.0}
        | {"thermal_plateau": 5.0, "thermal_clahe": 2.0}
    ).thermal
    assert thermal.pixel_range == pytest.approx((27_315.0, 31_315.0))
    assert (thermal.plateau, thermal.clahe) == (5.0, 2.0)


def test_values_that_contradict_each_other_are_refused():
    with pytest.raises(ParameterError, match="low < high"):
        Settings.from_values(
            DEFAULTS | {"thermal_mode": "range", "thermal_low": 10.0, "thermal_high": 5.0}
        )


def test_an_error_budget_below_the_warning_is_refused():
    for error, good in ((150.0, False), (200.0, True), (0.0, True)):
        values = DEFAULTS | {"latency_budget_warn_ms": 200.0, "latency_budget_error_ms": error}
        if good:
            assert Settings.from_values(values).latency_budget_error_ms == error
        else:
            with pytest.raises(ParameterError, match="latency_budget_error_ms is 150"):
                Settings.from_values(values)


def test_a_device_is_for_openvino_only():
    for engine, good in (("auto", True), ("openvino", True), ("tensorrt", False)):
        values = DEFAULTS | {"engine": engine, "engine_device": "NPU"}
        if good:
            assert Settings.from_values(values).engine_options.device == "NPU"
        else:
            with pytest.raises(ParameterError, match="engine_device 'NPU' is for OpenVINO"):
                Settings.from_values(values)


def test_all_wrong_values_are_reported_at_once():
    with pytest.raises(ParameterError, match=r"queue_size.*; overlay_alpha"):
        Settings.from_values(DEFAULTS | {"queue_size": 0, "overlay_alpha": 7.0})


def test_the_markdown_table_has_a_row_for_each():
    lines = parameter_table_markdown().splitlines()
    assert len(lines) == 2 + len(PARAMETERS)
    assert all(line.count("|") == 8 for line in lines)
