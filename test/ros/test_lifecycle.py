# SPDX-License-Identifier: Apache-2.0
"""The states of a node in this process: any legal order of transitions, and nothing left behind."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import rclpy
from rclpy.context import Context
from rclpy.lifecycle import LifecyclePublisher, TransitionCallbackReturn
from rclpy.parameter import Parameter

from segmif_ros.ros.node import worker
from segmif_ros.ros.node.node import SegmifNode

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)
UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = "unconfigured", "inactive", "active", "finalized"
LEGAL = {
    UNCONFIGURED: {"configure": INACTIVE, "shutdown": FINALIZED},
    INACTIVE: {"activate": ACTIVE, "cleanup": UNCONFIGURED, "shutdown": FINALIZED},
    ACTIVE: {"deactivate": INACTIVE, "shutdown": FINALIZED},
}


@pytest.fixture
def context(ros_domain):
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def make(context, tiny_bundle):
    nodes = []

    def make(
        stop: threading.Event | None = None, remap: tuple[str, ...] = (), **parameters: object
    ) -> SegmifNode:
        given = {"model": str(tiny_bundle), "engine": "onnxruntime", **parameters}
        node = SegmifNode(
            stop,
            context=context,
            parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
            cli_args=["--ros-args", *(arg for rule in remap for arg in ("-r", rule))],
        )
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.close()
        node.destroy_node()


def state_of(node: SegmifNode) -> str:
    return str(node._state_machine.current_state[1])


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def belongings(node: SegmifNode) -> Counter[str]:
    """What a node has of the things that could be left behind."""
    return Counter(
        subscriptions=len(list(node.subscriptions)),
        publishers=len(list(node.publishers)),
        timers=len(list(node.timers)),
        threads=threading.active_count(),
    )


def _unseen(_node: SegmifNode, _name: str) -> None:
    """Look at nothing."""


def wander(make, rounds: int, seen=_unseen) -> Counter[str]:
    """Make random legal transitions, a new node after each shutdown; count them by name."""
    rng = random.Random(3)
    node = make()
    used: Counter[str] = Counter()
    for _ in range(rounds):
        for _ in range(rng.randint(1, 6)):
            state = state_of(node)
            # Shutdown ends a node for good, so it is drawn less often than the others.
            choices = [name for name in LEGAL[state] if name != "shutdown" or rng.random() < 0.05]
            name = rng.choice(choices or [next(iter(LEGAL[state]))])
            assert getattr(node, f"trigger_{name}")() == SUCCESS, (state, name)
            assert state_of(node) == LEGAL[state][name]
            used[name] += 1
            seen(node, name)
            if state_of(node) == FINALIZED:
                node.close()
                node.destroy_node()
                node = make()
    return used


def test_a_hundred_random_orders_of_transitions_leave_nothing_behind(make, monkeypatch):
    returned = []
    # The real one looks through the whole heap of the test run each time.
    monkeypatch.setattr(worker, "return_memory", lambda: returned.append(None))
    idle = []

    def fresh() -> SegmifNode:
        node = make()
        idle.append(belongings(node))
        return node

    def seen(node: SegmifNode, name: str) -> None:
        if state_of(node) in (UNCONFIGURED, FINALIZED):
            assert belongings(node) == idle[0], name

    used = wander(fresh, 100, seen)
    assert set(used) == {"configure", "activate", "deactivate", "cleanup", "shutdown"}
    assert used["cleanup"] <= len(returned) <= used["configure"]


def growth_mib(bundle: str, domain: int) -> float:
    """Return what 80 rounds of transitions added to this process, after 20 that fill its caches."""
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    given = [Parameter("model", value=bundle), Parameter("engine", value="onnxruntime")]
    memory = []
    for rounds in (20, 80):
        wander(lambda: SegmifNode(None, context=context, parameter_overrides=given), rounds)
        worker.return_memory()
        memory.append(resident_mib())
    rclpy.shutdown(context=context)
    return memory[1] - memory[0]


def test_transitions_hold_no_memory(tiny_bundle, ros_domain):
    # In a process of its own: what tests before left in this one's heap moves its pages, too.
    code = f"import test_lifecycle as t; print(t.growth_mib({str(tiny_bundle)!r}, {ros_domain}))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout.split()[-1]) < 12.0, "grown in 80 rounds"


def test_a_failed_configuration_can_be_corrected(make, tiny_bundle, tmp_path):
    node = make(model=str(tmp_path))
    idle = belongings(node)
    for _ in range(3):
        assert node.trigger_configure() == FAILURE
        assert state_of(node) == UNCONFIGURED
        assert belongings(node) == idle
    node.set_parameters([Parameter("model", value=str(tiny_bundle))])
    assert node.trigger_configure() == SUCCESS


@pytest.mark.parametrize(("thermal", "warnings"), [("/front", 1), ("/flir", 0)])
def test_one_topic_for_both_cameras_is_named(make, monkeypatch, thermal, warnings):
    node = make(remap=("~/input/rgb:=/front", f"~/input/thermal:={thermal}"))
    assert node.trigger_configure() == SUCCESS
    said: list[str] = []
    logger = SimpleNamespace(info=str, error=str, warning=said.append)
    monkeypatch.setattr(node, "get_logger", lambda: logger)
    assert node.trigger_activate() == SUCCESS
    assert [line.startswith("both inputs are /front: remap") for line in said] == [True] * warnings


def test_the_outputs_are_active_before_the_first_pair_can_come(make, monkeypatch):
    """What an inactive publisher is given is lost, and would be counted as published."""
    node = make()
    assert node.trigger_configure() == SUCCESS
    real, seen = node._activate, []

    def activate() -> None:
        outputs = [each for each in node.publishers if isinstance(each, LifecyclePublisher)]
        seen.extend(each.is_activated for each in outputs)
        real()

    monkeypatch.setattr(node, "_activate", activate)
    assert node.trigger_activate() == SUCCESS
    assert seen
    assert all(seen)


@pytest.mark.parametrize("name", ["activate", "deactivate", "cleanup"])
def test_an_error_in_a_transition_is_recovered_from(make, monkeypatch, name):
    node = make()
    idle = belongings(node)
    node.trigger_configure()
    if name == "deactivate":
        node.trigger_activate()
    calls = []

    def fail() -> None:
        calls.append(name)
        if len(calls) == 1:
            raise RuntimeError("out of luck")

    action = {"activate": "_activate", "deactivate": "_deactivate", "cleanup": "_release"}[name]
    real = getattr(node, action)
    monkeypatch.setattr(node, action, lambda: (fail(), real()))
    assert getattr(node, f"trigger_{name}")() == ERROR
    assert "out of luck" in node.last_error
    assert state_of(node) == UNCONFIGURED
    assert belongings(node) == idle
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS


def test_a_stuck_engine_does_not_hold_up_deactivation_for_ever(make, monkeypatch):
    node = make()
    idle = belongings(node)
    node.trigger_configure()
    node.trigger_activate()
    let_go, entered = threading.Event(), threading.Event()

    def stuck() -> None:
        entered.set()
        assert let_go.wait(30.0)

    waiting = threading.Thread(target=lambda: node._worker._thread.call(stuck))
    waiting.start()
    assert entered.wait(10.0)
    monkeypatch.setattr(worker, "PATIENCE_S", 0.2)
    assert node.trigger_deactivate() == ERROR
    assert "busy with one pair" in node.last_error
    assert node.left_behind
    assert state_of(node) == UNCONFIGURED
    assert node.trigger_configure() == SUCCESS, "with another thread and another engine"
    assert node.trigger_cleanup() == SUCCESS
    let_go.set()
    waiting.join(10.0)
    deadline = threading.Event()
    for _ in range(200):
        if belongings(node) == idle:
            break
        deadline.wait(0.05)
    assert belongings(node) == idle, "the stuck thread has ended as well"


def test_loading_is_reported_while_it_lasts_and_ends_when_the_process_is_to_end(
    make, monkeypatch, capfd
):
    stop, let_go = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> None:
        stop_soon.start()
        assert let_go.wait(30.0)

    monkeypatch.setattr(worker, "open_engine", slow)
    monkeypatch.setattr(worker, "_PROGRESS_S", 0.2)
    node = make(stop)
    stop_soon = threading.Timer(0.6, stop.set)
    assert node.trigger_configure() == FAILURE
    assert node.left_behind
    let_go.set()
    told = capfd.readouterr().err
    assert told.count("loading model") >= 2
    assert "on engine 'onnxruntime'" in told
    assert "the process ends while model" in told
