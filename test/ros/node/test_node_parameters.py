# SPDX-License-Identifier: Apache-2.0
"""The table on a real rclpy node, without a process of its own."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.context import Context
from rclpy.parameter import Parameter

from segmif_ros.parameters import PARAMETERS, ParameterError
from segmif_ros.ros.node.node_parameters import NodeParameters


@pytest.fixture(scope="module")
def context(ros_domain):
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def make(context):
    nodes = []

    def make(**overrides):
        given = [Parameter(name, value=value) for name, value in overrides.items()]
        node = rclpy.create_node("parameters", context=context, parameter_overrides=given)
        nodes.append(node)
        return node, NodeParameters(node)

    yield make
    for node in nodes:
        node.destroy_node()


def set_one(node, name, value):
    return node.set_parameters([Parameter(name, value=value)])[0]


def test_every_row_is_declared_with_its_default(make):
    node, parameters = make()
    for spec in PARAMETERS:
        assert node.get_parameter(spec.name).value == spec.default
        assert node.describe_parameter(spec.name).description == spec.text
    assert parameters.settings().pairing.tolerance_ns == 30_000_000


def test_a_whole_number_is_good_for_a_double(make):
    node, parameters = make(tolerance_ms=25)
    assert parameters.settings().pairing.tolerance_ns == 25_000_000
    assert set_one(node, "tolerance_ms", 12).successful
    assert parameters.settings().pairing.tolerance_ns == 12_000_000


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("tolerance_ms", 5000.0, 20.0),
        ("queue_size", "many", 5),
        ("engine", "warp", "null"),
        ("latency_budget_warn_ms", -1, 100),
    ],
)
def test_a_bad_start_value_blocks_until_it_is_corrected(make, name, bad, good):
    node, parameters = make(**{name: bad})
    with pytest.raises(ParameterError, match=name):
        parameters.settings()
    assert set_one(node, name, good).successful
    parameters.settings()


@pytest.mark.parametrize(
    ("name", "bad", "line"),
    [
        ("tolerance_ms", 5000.0, "parameter tolerance_ms is 5000.0, expected 0 to 1000 ms"),
        ("jpeg_quality", 0, "parameter jpeg_quality is 0, expected 1 to 100"),
        ("queue_size", "x", "parameter queue_size is 'x' of type str, expected 1 to 1000 frames"),
    ],
)
def test_a_bad_start_value_is_one_line_in_our_words(make, name, bad, line):
    _, parameters = make(**{name: bad})
    with pytest.raises(ParameterError) as caught:
        parameters.settings()
    assert str(caught.value) == line


def test_several_bad_start_values_are_reported_together(make):
    _, parameters = make(tolerance_ms=-1.0, engine="warp")
    with pytest.raises(ParameterError, match=r"engine.*tolerance_ms"):
        parameters.settings()


def test_settings_follow_a_change_and_not_a_vetoed_one(make):
    node, parameters = make()
    before = parameters.settings()
    assert parameters.settings() is before
    refused = set_one(node, "overlay_alpha", 1.5)
    assert not refused.successful
    assert parameters.settings() == before
    assert set_one(node, "overlay_alpha", 1.0).successful
    assert parameters.settings().overlay_alpha == 1.0


def test_who_asks_while_a_change_is_being_made_does_not_keep_the_old_value(context):
    node = rclpy.create_node("asked", context=context)
    made = []

    def ask(_changes):  # runs after the veto and before rclpy stores the values
        if made:
            made[0].settings()
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(ask)
    made.append(NodeParameters(node))
    assert made[0].settings().pairing.tolerance_ns == 30_000_000
    assert set_one(node, "tolerance_ms", 12.0).successful
    assert made[0].settings().pairing.tolerance_ns == 12_000_000
    node.destroy_node()


def test_several_at_once_are_judged_together(make):
    node, parameters = make()
    pair = [Parameter("thermal_low", value=500.0), Parameter("thermal_high", value=400.0)]
    mode = Parameter("thermal_mode", value="range")
    assert not node.set_parameters_atomically([*pair, mode]).successful
    assert parameters.settings().thermal.mode == "auto"
    pair[1] = Parameter("thermal_high", value=600.0)
    assert node.set_parameters_atomically([*pair, mode]).successful
    assert parameters.settings().thermal.high == 600.0


def test_offline_parameters_are_locked_while_configured(make):
    node, parameters = make()
    assert set_one(node, "engine", "null").successful
    parameters.configured = True
    refused = set_one(node, "engine", "auto")
    assert not refused.successful
    assert "unconfigured" in refused.reason
    assert set_one(node, "tolerance_ms", 10.0).successful
    parameters.configured = False
    assert set_one(node, "engine", "auto").successful


def test_a_misspelt_parameter_is_named_with_the_likely_one(make, capfd):
    make(**{"tolerence_ms": 10.0, "use_sim_time": False})
    told = [line for line in capfd.readouterr().err.splitlines() if "WARN" in line]
    assert len(told) == 1
    assert "'tolerence_ms' is not known" in told[0]
    assert "did you mean 'tolerance_ms'?" in told[0]


def test_other_parameters_are_not_ours_to_judge(make):
    node, _ = make()
    assert set_one(node, "use_sim_time", False).successful


def test_a_parameter_dump_of_a_node_with_other_topics_is_one_warning(make, capfd):
    dump = {
        f"qos_overrides./other/{n}.subscription.{policy}": value
        for n in range(15)
        for policy, value in (("depth", 5), ("history", "keep_last"), ("reliability", "reliable"))
    }
    make(**dump)
    warnings = [line for line in capfd.readouterr().err.splitlines() if "WARN" in line]
    assert len(warnings) == 1
    assert "has no effect" in warnings[0]
    assert "(44 more of qos_overrides.... likewise)" in warnings[0]
