# SPDX-License-Identifier: Apache-2.0
"""Which policy keeps two ends apart; DDS's own judgement is the reference."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

from segmif_ros.ros.qos import mismatches, sensor_input, weaker_policy

INFINITE = Duration(nanoseconds=2**63 - 1)
RELIABILITY = (ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE)
DURABILITY = (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL)
DEADLINES = (Duration(), INFINITE, Duration(seconds=1), Duration(seconds=2))
LIVELINESS = (LivelinessPolicy.AUTOMATIC, LivelinessPolicy.MANUAL_BY_TOPIC)


def profiles() -> list[QoSProfile]:
    return [
        QoSProfile(depth=1, reliability=r, durability=d, deadline=dl, liveliness=live)
        for r, d, dl, live in product(RELIABILITY, DURABILITY, DEADLINES, LIVELINESS)
    ]


def publisher(profile: QoSProfile, kind: str = "sensor_msgs/msg/Image") -> Any:
    return SimpleNamespace(
        node_name="driver", node_namespace="/front", topic_type=kind, qos_profile=profile
    )


def test_it_agrees_with_the_middleware_on_every_combination():
    pairs = list(product(profiles(), profiles()))
    wrong = []
    for offered, wanted in pairs:
        judged, reason = qos_check_compatible(offered, wanted)
        policy = weaker_policy(offered, wanted)
        if bool(policy) != (judged == QoSCompatibility.ERROR):
            wrong.append((policy, reason, str(offered), str(wanted)))
    assert not wrong, wrong[0]
    assert len(pairs) == 1024


def test_the_nodes_own_profile_is_compatible_with_all():
    for profile in profiles():
        assert mismatches("/cam", [publisher(profile)], sensor_input()) == []


def test_reliable_against_best_effort_names_the_parameter():
    wanted = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    offered = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    (found,) = mismatches("/cam", [publisher(wanted), publisher(offered)], wanted)
    assert str(found) == (
        "/front/driver offers reliability best_effort, reliable is requested: set this node's "
        "parameter qos_overrides./cam.subscription.reliability to best_effort, or have the "
        "publisher offer reliability reliable"
    )


def test_what_no_parameter_can_change_is_left_to_the_publisher():
    wanted = QoSProfile(depth=1, deadline=Duration(seconds=1))
    (found,) = mismatches("/cam", [publisher(QoSProfile(depth=1))], wanted)
    assert (found.policy, found.offered, found.wanted) == ("deadline", "infinite", "1000 ms")
    assert found.remedy == "have the publisher offer deadline 1000 ms"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("sensor_msgs/msg/CompressedImage", "input_transport to compressed"),
        ("std_msgs/msg/String", "remap the input"),
    ],
)
def test_another_type_is_named_before_any_policy(kind, words):
    wanted = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    offered = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    (found,) = mismatches("/cam", [publisher(offered, kind)], wanted)
    assert (found.publisher, found.policy, found.offered) == ("/front/driver", "type", kind)
    assert words in found.remedy


def test_a_publisher_without_a_name_is_still_judged():
    wanted = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    nameless = publisher(QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    nameless.node_name, nameless.node_namespace = "_NODE_NAME_UNKNOWN_", "_NODE_NAMESPACE_UNKNOWN_"
    (found,) = mismatches("/cam", [nameless], wanted)
    assert found.publisher == "an unnamed publisher"
