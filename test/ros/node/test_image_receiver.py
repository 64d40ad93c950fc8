# SPDX-License-Identifier: Apache-2.0
"""Messages over DDS, taken on the intake's own thread while an executor spins beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import String

from segmif_ros.ros.node.image_receiver import THREAD_NAME, ImageReceiver, ReceiverGroup
from segmif_ros.ros.rclpy_private import take_message

DEADLINE_S = 20.0
REST_NS = 100_000_000


class Rig:
    """A node with two subscriptions, their publishers, and an executor that spins."""

    def __init__(self, domain: int) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("intake_rig", context=self.context)
        self.group = ReceiverGroup()
        self.taken: list[tuple[str, str]] = []
        self.waited_ns: list[int] = []
        self.unread: list[int] = []
        self.ticks = 0
        self.errors: list[str] = []
        self.talkers = [self.node.create_publisher(String, f"/intake/{n}", 10) for n in "ab"]
        self.subscriptions = [
            self.node.create_subscription(
                String, f"/intake/{n}", self.on_message, 10, callback_group=self.group
            )
            for n in "ab"
        ]
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.intake: ImageReceiver | None = None
        self.until(lambda: all(t.get_subscription_count() for t in self.talkers))

    def start(self, tick_s: float = 0.02, rest_ns: Callable[[], int] = lambda: 0) -> ImageReceiver:
        self.intake = ImageReceiver(
            self.subscriptions,
            context=self.context,
            log=self.errors.append,
            tick=self.on_tick,
            tick_s=tick_s,
            rest_ns=rest_ns,
            unread=self.unread.append,
        )
        return self.intake

    def on_message(self, message: String, waited_ns: int = 0) -> None:
        self.waited_ns.append(waited_ns)
        self.taken.append((message.data, threading.current_thread().name))
        if message.data == "bad":
            raise RuntimeError("this message is bad")

    def on_tick(self) -> None:
        self.ticks += 1

    def say(self, text: str, talker: int = 0) -> None:
        self.talkers[talker].publish(String(data=text))

    def until(self, condition: Callable[[], Any]) -> None:
        deadline = monotonic() + DEADLINE_S
        while not condition():
            assert monotonic() < deadline, (self.taken, self.ticks, self.errors)
            self.executor.spin_once(timeout_sec=0.01)

    def end(self) -> None:
        if self.intake is not None:
            self.intake.close()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def rig(ros_domain: int) -> Iterator[Rig]:
    made = Rig(ros_domain)
    yield made
    made.end()


def test_messages_of_both_topics_arrive_on_the_thread_of_the_intake(rig: Rig) -> None:
    rig.start()
    for number in range(5):
        rig.say(f"a{number}", 0)
        rig.say(f"b{number}", 1)
    rig.until(lambda: len(rig.taken) == 10)
    for topic in "ab":
        said = [text for text, _ in rig.taken if text.startswith(topic)]
        assert said == [f"{topic}{number}" for number in range(5)]
    assert {thread for _, thread in rig.taken} == {THREAD_NAME}


@pytest.mark.parametrize(
    ("said", "unread", "taken"),
    [
        ("a1 a2 a3 b1 b2 b3", [2], "a3 b3"),
        ("a1 b1 a2 b2 a3", [1], "a2 a3 b2"),
        ("a1 a2 a3 b1", [], "a1 a2 a3 b1"),
        ("a1 a2", [], "a1 a2"),
    ],
)
def test_after_a_rest_only_what_both_have_more_of_is_left_out(
    rig: Rig, said: str, unread: list[int], taken: str
) -> None:
    rests, ready = [REST_NS], threading.Event()

    def rest_ns() -> int:
        assert ready.wait(DEADLINE_S)
        return rests.pop() if rests else 0

    rig.start(tick_s=60.0, rest_ns=rest_ns)
    for text in said.split():
        rig.say(text, "ab".index(text[0]))
    ready.set()
    rig.until(lambda: len(rig.taken) == len(taken.split()))
    assert " ".join(text for text, _ in rig.taken) == taken
    assert rig.unread == unread
    assert all(REST_NS // 2 < each < 10 * DEADLINE_S * 1e9 for each in rig.waited_ns)
    rig.say("a9")
    rig.until(lambda: rig.taken[-1][0] == "a9")
    assert rig.waited_ns[-1] == 0


def test_what_the_middleware_wrote_over_during_a_rest_counts_as_unread(rig: Rig) -> None:
    rests, ready = [REST_NS, 0], threading.Event()

    def rest_ns() -> int:
        assert ready.wait(DEADLINE_S)
        return rests.pop() if rests else 0

    rig.start(tick_s=60.0, rest_ns=rest_ns)
    ready.set()
    for topic in "ab":  # numbers are known from a first message on
        rig.say(f"{topic}0", "ab".index(topic))
    rig.until(lambda: len(rig.taken) == 2)
    ready.clear()
    rests.append(REST_NS)
    for number in range(1, 16):  # the subscriptions keep ten
        for topic in "ab":
            rig.say(f"{topic}{number}", "ab".index(topic))
    ready.set()
    rig.until(lambda: len(rig.taken) + 2 * sum(rig.unread) == 2 * 16)
    assert [text for text, _ in rig.taken][-2:] == ["a15", "b15"]


def test_the_numbers_of_two_publishers_are_not_taken_for_losses(rig: Rig) -> None:
    rig.talkers.append(rig.node.create_publisher(String, "/intake/a", 10))
    rig.until(rig.talkers[2].get_subscription_count)
    for number in range(20):  # its numbers are far ahead of the first publisher's
        rig.say(f"c{number}", 2)
        rig.until(lambda: take_message(rig.subscriptions[0]))
    for text in ("a1", "c20", "a2", "b1", "b2"):
        rig.say(text, "abc".index(text[0]))
    rests = [REST_NS]
    rig.start(tick_s=60.0, rest_ns=lambda: rests.pop() if rests else 0)
    rig.until(lambda: rig.taken and rig.taken[-1][0] == "b2")
    assert ([text for text, _ in rig.taken], rig.unread) == (["c20", "a2", "b2"], [1])


def test_the_executor_leaves_the_subscriptions_alone(rig: Rig) -> None:
    rig.say("first")
    for _ in range(50):
        rig.executor.spin_once(timeout_sec=0.005)
    assert rig.taken == []
    rig.start()  # and what waited is not lost
    rig.until(lambda: rig.taken)
    assert rig.taken == [("first", THREAD_NAME)]


def test_what_belongs_to_a_subscription_stays_with_the_executor(rig: Rig) -> None:
    handlers = [h for sub in rig.subscriptions for h in sub.event_handlers]
    assert handlers, "rclpy warns of an incompatible QoS by default"
    assert all(rig.group.can_execute(handler) for handler in handlers)
    assert not any(rig.group.can_execute(sub) for sub in rig.subscriptions)


def test_the_tick_comes_without_messages_and_between_them(rig: Rig) -> None:
    rig.start(tick_s=0.01)
    rig.until(lambda: rig.ticks >= 5)
    ticks = rig.ticks
    deadline = monotonic() + DEADLINE_S
    while rig.ticks < ticks + 5:  # as fast as it goes: messages must not starve the tick
        rig.say("x")
        assert monotonic() < deadline
    rig.until(lambda: rig.taken)


def test_what_a_callback_raises_is_logged_once_and_ends_nothing(rig: Rig) -> None:
    rig.start()
    for text in ("bad", "bad", "good"):
        rig.say(text)
    rig.until(lambda: ("good", THREAD_NAME) in rig.taken)
    assert len(rig.taken) == 3
    assert len(rig.errors) == 1
    assert "RuntimeError('this message is bad')" in rig.errors[0]
    assert "Traceback" in rig.errors[0]


def test_after_closing_nothing_runs_any_more(rig: Rig) -> None:
    intake = rig.start(tick_s=60.0)
    began = monotonic()
    intake.close()
    assert monotonic() - began < 30.0, "closing waited for the tick"
    assert THREAD_NAME not in {thread.name for thread in threading.enumerate()}
    ticks = rig.ticks
    rig.say("late")
    for _ in range(20):
        rig.executor.spin_once(timeout_sec=0.005)
    assert (rig.taken, rig.ticks) == ([], ticks)
    rig.intake = None


def test_a_wait_that_fails_ends_the_thread_and_says_so(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = rig.start()
    assert intake.is_alive

    def refuse(timeout_ns: int) -> None:
        raise RuntimeError(f"wait set refuses {timeout_ns}")

    monkeypatch.setattr(intake, "_wait", refuse)
    rig.until(lambda: not intake.is_alive)
    assert len(rig.errors) == 1
    assert "waiting for images failed: RuntimeError('wait set refuses" in rig.errors[0]
