# SPDX-License-Identifier: Apache-2.0
"""The thread that reports: what it notices over DDS, and what cannot stop it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event, Thread
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import rclpy
from node_process import Peer
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from segmif_ros.pairing import Stream
from segmif_ros.parameters import DEFAULTS
from segmif_ros.ros.diagnostics import levels
from segmif_ros.ros.diagnostics.reporter import Reporter, Snapshot
from segmif_ros.ros.node.modes import Mode, ModeStatus
from segmif_ros.ros.node.node_parameters import NodeParameters
from segmif_ros.ros.node.statistics import Statistics
from segmif_ros.thermal import FreezeLimits, FreezeWatch

pytestmark = pytest.mark.system

RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


def inputs(qos: QoSProfile) -> Any:
    """Subscriptions of a node that receives nothing."""
    return SimpleNamespace(
        camera=lambda stream: SimpleNamespace(
            topic=f"/reporting/input/{stream.value}", type_name="sensor_msgs/msg/Image", qos=qos
        ),
        camera_info=lambda _: SimpleNamespace(newest=None),
        freeze=lambda stream: FreezeWatch(FreezeLimits.of(stream)),
        pairer=SimpleNamespace(reference=Stream.RGB, held=lambda _: 0),
    )


class Node:
    """A node that only reports, and whose executor runs in a thread."""

    def __init__(self, domain: int, **parameters: Any) -> None:
        self.snapshot = Snapshot(
            lifecycle="unconfigured",
            statistics=Statistics(()),
            inputs=None,
            active_since_ns=None,
            engine={},
            mode_status=ModeStatus(Mode.STOPPED, "the node is not active"),
        )
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        values = {"diagnostics_rate_hz": 10.0, "use_sim_time": False} | parameters
        self.node = rclpy.create_node(
            "reporting",
            context=self._context,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        self.parameters = NodeParameters(self.node)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.reporter = Reporter(self.node, self.parameters, self._take)
        self._stop = Event()
        self._thread = Thread(target=self._spin)
        self._thread.start()

    def become(self, **changes: Any) -> None:
        self.snapshot = replace(self.snapshot, **changes)

    def blocked_until(self, done: Event) -> None:
        """Keep the executor busy."""
        self.node.create_timer(0.01, lambda: done.wait(30.0))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.reporter.close()
        self.reporter.close()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _take(self) -> Snapshot:
        return self.snapshot

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.05)


@pytest.fixture
def start(ros_domain: int) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def run(**parameters: Any) -> Node:
        nodes.append(Node(ros_domain, **parameters))
        return nodes[-1]

    yield run
    for node in nodes:
        node.close()


@pytest.fixture(scope="module")
def peer_of_all(ros_domain: int) -> Iterator[Peer]:
    with Peer(ros_domain, "reporting") as peer:
        yield peer


@pytest.fixture
def listener(peer_of_all: Peer) -> Peer:
    peer_of_all.forget()
    return peer_of_all


def test_it_reports_before_the_node_is_configured(start, listener):
    start()
    listener.until(lambda: listener.status("node"), "a report")
    assert listener.status("node")["lifecycle"] == "unconfigured"
    assert listener.status("rgb")["state"] == "inactive"
    assert {s.level for s in listener.diagnostics[-1].status} == {b"\0"}


def test_a_worker_that_hangs_is_reported_while_the_executor_waits_for_it(start, listener):
    node = start()
    statistics = Statistics(("fused",))
    done = Event()
    node.blocked_until(done)
    try:
        statistics.ticked_ns = statistics.working_since_ns = monotonic_ns()
        node.become(statistics=statistics, active_since_ns=monotonic_ns(), lifecycle="active")
        listener.until(lambda: listener.status("engine").get("state") == "stuck", "a stuck engine")
        assert listener.status("engine")["level"] == "2"
        listener.until(lambda: listener.status("node")["state"] == "blocked", "a blocked node")
        statistics.working_since_ns = None
        listener.until(lambda: listener.status("engine")["state"] == "ok", "recovery")
    finally:
        done.set()


def test_at_one_report_a_second_a_stuck_worker_is_reported_within_two():
    assert levels.STUCK.limit + 1.0 / DEFAULTS.diagnostics_rate_hz < 2.0
    assert levels.INTAKE_BLOCKED.limit + 1.0 / DEFAULTS.diagnostics_rate_hz < 2.0


def test_a_publisher_that_is_incompatible_is_named(start, listener, monkeypatch):
    node = start(rgb_expected_hz=15.0)
    said: list[str] = []
    logger = SimpleNamespace(error=said.append, info=said.append)
    monkeypatch.setattr(node.node, "get_logger", lambda: logger)
    long_ago = monotonic_ns() - 10_000_000_000
    node.become(inputs=inputs(RELIABLE), active_since_ns=long_ago)
    # The peer's cameras are best effort, the subscription requests reliable.
    named = "/peer offers reliability best_effort"
    listener.until(lambda: named in listener.status("rgb").get("message", ""), "the mismatch")
    found = listener.status("rgb")
    assert (found["state"], found["usual_hz"]) == ("qos_incompatible", "15.00")
    assert found["level"] == "2"
    assert "qos_overrides./reporting/input/rgb.subscription.reliability" in found["message"]
    assert len([line for line in said if line.startswith("rgb: ")]) == 1, said


@pytest.mark.parametrize(("wanted", "sent"), [("", "/compressed"), ("/compressed", "")])
def test_a_camera_that_sends_the_other_transport_is_named(start, listener, wanted, sent):
    node = start()
    node.node.create_publisher(CompressedImage if sent else Image, f"/front/rgb{sent}", 1)
    hears = inputs(RELIABLE)
    hears.camera = lambda stream: SimpleNamespace(
        topic=f"/front/{stream.value}{wanted}", type_name="sensor_msgs/msg/Image", qos=RELIABLE
    )
    long_ago = monotonic_ns() - 10_000_000_000
    node.become(inputs=hears, active_since_ns=long_ago)
    named = f"no publisher on /front/rgb{wanted}, but /front/rgb{sent} is published"
    listener.until(lambda: named in listener.status("rgb").get("message", ""), "the other topic")
    assert "remap the input" in listener.status("thermal")["message"]


def test_simulated_time_is_missed_followed_and_missed_again(start, listener):
    start(use_sim_time=True)
    listener.until(lambda: listener.status("node").get("clock") == "missing", "a missing clock")
    assert listener.diagnostics[-1].header.stamp.sec == 0
    listener.until(lambda: listener.status("node")["state"] == "no_clock", "an error")
    assert "--clock" in listener.status("node")["message"]
    clock = listener.node.create_publisher(Clock, "/clock", 10)
    message = Clock()

    def running() -> bool:
        message.clock.sec += 1000
        clock.publish(message)
        return listener.status("node")["clock"] == "simulated"

    listener.until(running, "simulated time")
    assert listener.status("node")["level"] == "0"
    assert listener.diagnostics[-1].header.stamp.sec % 1000 == 0
    assert listener.diagnostics[-1].header.stamp.sec > 0
    listener.until(lambda: listener.status("node")["state"] == "clock_stopped", "a paused bag")


def test_the_rate_follows_the_parameter(start, listener):
    node = start(diagnostics_rate_hz=0.1)
    assert node.node.set_parameters([Parameter("diagnostics_rate_hz", value=20.0)])[0].successful
    listener.until(lambda: len(listener.diagnostics) >= 5, "five reports", 5.0)


def test_a_bad_start_value_and_a_failing_report_do_not_end_it(start, listener, monkeypatch):
    node = start(overlay_alpha=7.0)
    assert node.parameters.problems
    listener.until(lambda: listener.diagnostics, "a report with a bad parameter")
    node.node.set_parameters([Parameter("overlay_alpha", value=0.5)])
    said: list[str] = []
    monkeypatch.setattr(node.node, "get_logger", lambda: SimpleNamespace(error=said.append))
    engine = node.snapshot.engine
    node.become(engine=None)
    listener.until(lambda: said, "an error")
    assert "diagnostics failed" in said[0]
    assert "Traceback" in said[0]
    node.become(engine=engine)
    listener.forget()
    listener.until(lambda: listener.diagnostics, "a report after the failure")
    assert len(said) == 1, "said once in ten seconds"
