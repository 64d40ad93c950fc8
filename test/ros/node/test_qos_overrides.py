# SPDX-License-Identifier: Apache-2.0
"""QoS overrides: in force on every topic, and judged before rclpy trips over them."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import rclpy
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy

from segmif_ros.ros.node.node import SegmifNode
from segmif_ros.ros.node.node_parameters import qos_override_problem, topics_of

TOPICS = {"/cam": "subscription", "/segmif/output/mask": "publisher"}


@pytest.fixture
def make(ros_domain, tiny_bundle):
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain)
    nodes = []

    def make(overrides: dict[str, object]) -> SegmifNode:
        given = {"model": str(tiny_bundle), "engine": "onnxruntime", **overrides}
        parameters = [Parameter(name, value=value) for name, value in given.items()]
        node = SegmifNode(context=context, parameter_overrides=parameters)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.close()
        node.destroy_node()
    rclpy.shutdown(context=context)


def test_overrides_reach_every_topic_of_the_node(make):
    topics = topics_of(make({}))
    overrides: dict[str, object] = {}
    for topic, side in topics.items():
        overrides[f"qos_overrides.{topic}.{side}.depth"] = 7
        overrides[f"qos_overrides.{topic}.{side}.reliability"] = "best_effort"
    node = make(overrides)
    assert node.autostart()
    found = {
        (str(entity.topic_name), side): entity.qos_profile
        for side, entities in (("publisher", node.publishers), ("subscription", node.subscriptions))
        for entity in entities
        if "/segmif/" in entity.topic_name or entity.topic_name == "/diagnostics"
    }
    found = {key: qos for key, qos in found.items() if "transition_event" not in key[0]}
    assert len(found) >= 13
    for (topic, side), qos in found.items():
        assert topics.get(topic) == side, f"{topic} cannot be overridden"
        assert (qos.depth, qos.reliability) == (7, ReliabilityPolicy.BEST_EFFORT), topic
    never = {topic for topic, side in topics.items() if (topic, side) not in found}
    optional = {
        "/segmif/output/label_info",
        "/segmif/input/rgb/compressed",
        "/segmif/input/thermal/compressed",
        # While the points have a subscriber; and with vision_msgs.
        "/segmif/input/points",
        "/segmif/input/depth",
        "/segmif/output/detections",
    }
    assert never <= optional


@pytest.mark.parametrize(
    ("name", "value", "fatal", "words"),
    [
        ("/cam.subscription.reliability", "reliabel", True, "expected reliable, best_effort"),
        ("/cam.subscription.depth", 0, True, "expected a whole number above 0"),
        ("/cam.subscription.depth", "5", True, "is '5', expected a whole number"),
        ("/cam.publisher.depth", 5, False, "no publisher on /cam"),
        ("/segmif/output/mosk.publisher.depth", 5, False, "did you mean /segmif/output/mask?"),
        ("/cam.subscription.deadline", 5, False, "expected history, reliability, depth"),
        ("cam.subscription.depth", 5, False, "<full topic name>"),
    ],
)
def test_what_is_wrong_is_said_with_what_was_expected(name, value, fatal, words):
    problem = qos_override_problem(f"qos_overrides.{name}", value, TOPICS)
    assert problem is not None
    assert problem.fatal == fatal
    assert words in problem.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("/cam.subscription.reliability", "reliable"),
        ("/cam.subscription.depth", 3),
        ("/segmif/output/mask.publisher.history", "keep_all"),
    ],
)
def test_good_overrides_pass(name, value):
    assert qos_override_problem(f"qos_overrides.{name}", value, TOPICS) is None


def test_a_bad_value_refuses_the_configuration_in_one_line(make, capfd):
    name = "qos_overrides./diagnostics.publisher.reliability"
    node = make({name: "reliabel", "qos_overrides./clock.subscription.depth": 5})
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    expected = f"parameter {name} is 'reliabel', expected reliable, best_effort; correct it"
    assert expected in node.last_error
    told = capfd.readouterr().err
    assert "Traceback" not in told
    assert "/clock" not in told


def test_an_override_of_a_topic_that_does_not_exist_is_named(make, capfd):
    make({"qos_overrides./segmif/input/rbg.subscription.depth": 3})
    told = [line for line in capfd.readouterr().err.splitlines() if "WARN" in line]
    assert len(told) == 1
    assert "did you mean /segmif/input/rgb?" in told[0]
