# SPDX-License-Identifier: Apache-2.0
"""Plays a bag through rclpy: the serialised bytes go out as they are, rosbag2 is not needed."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from segmif_ros.error_codes import NO_SUBSCRIBER
from segmif_ros.interrupts import stopping
from segmif_ros.recordings.bags import (
    IMAGES,
    BagError,
    BagMessage,
    BagReader,
    BagSummary,
    Topic,
    header_stamp_ns,
    with_header_stamp,
)
from segmif_ros.recordings.pairs import nearest
from segmif_ros.ros.transport import prepare_process

EXIT_NO_SUBSCRIBER = 1

_CLOCK_PERIOD_NS = 25_000_000
_LINGER_S = 0.3
"""The last best-effort image lies in our shared memory until the reader has fetched it."""


@dataclass(frozen=True, slots=True)
class Playback:
    """How to play a bag.

    Attributes:
        rate: speed, 1 = as recorded.
        loop: start again at the end, until interrupted.
        clock: publish the bag's time on /clock.
        remap: topic name in the bag -> name to publish under, both with a leading slash.
        topics: only these; all if None.
        wait_s: wait so long for a subscriber on every image topic; None = do not wait.
        start_delay_s: wait so long before the first message.
        start_offset_s: leave out so much of the beginning.
        duration_s: play only so much of the bag.
        every: publish every Nth message of the slowest image topic and what the other image topics
            have nearest to each, so that pairs stay pairs; every Nth message of all other topics.
        restamp: map header stamps linearly to the time of publishing; differences between
            cameras stay (divided by the rate).
    """

    rate: float = 1.0
    loop: bool = False
    clock: bool = False
    remap: Mapping[str, str] = field(default_factory=dict)
    topics: Collection[str] | None = None
    wait_s: float | None = None
    start_delay_s: float = 0.0
    start_offset_s: float = 0.0
    duration_s: float | None = None
    every: int = 1
    restamp: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise BagError(f"--speed is {self.rate}; give a speed above 0")
        if self.every < 1:
            raise BagError(f"--every is {self.every}; give 1 or more")
        for name in ("start_delay_s", "start_offset_s", "duration_s", "wait_s"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise BagError(f"{name} is {value}; give a number of 0 or more")


class Due(NamedTuple):
    """One message to publish.

    Attributes:
        topic: name in the bag.
        bag_ns: recording time.
        due_ns: nanoseconds after the start of playing.
        cdr: serialised message.
    """

    topic: str
    bag_ns: int
    due_ns: int
    cdr: bytes


Selection = Mapping[str, Collection[int]]
"""Topic -> numbers of its messages to play, counted from the first one in the played stretch."""


_NEVER = threading.Event()


def select(
    reader: BagReader, options: Playback, topics: Collection[str], stop: threading.Event = _NEVER
) -> Selection | None:
    """Choose the messages to play; None for all. Walks through the bag once if it must.

    Counting on each topic alone would tear pairs apart at unequal rates, or after one lost frame.
    """
    if options.every == 1:
        return None
    stamps: dict[str, list[int]] = {topic: [] for topic in topics}
    images = set()
    for message in _stretch(reader, options, topics, stop):
        stamps[message.topic].append(message.time_ns)
        if message.type in IMAGES:
            images.add(message.topic)
            with suppress(BagError):  # a message without a header is reported when it is decoded
                stamps[message.topic][-1] = header_stamp_ns(message.cdr)
    kept: dict[str, Collection[int]] = {
        topic: range(0, len(own), options.every) for topic, own in stamps.items()
    }
    if images:
        slowest = min((stamps[topic] for topic in images), key=len)[:: options.every]
        for topic in images:
            order = sorted(range(len(stamps[topic])), key=stamps[topic].__getitem__)
            own = [stamps[topic][index] for index in order]
            found = (nearest(own, stamp) for stamp in slowest)
            kept[topic] = {order[index] for index in found if index is not None}
    return kept


def schedule(
    reader: BagReader,
    options: Playback,
    topics: Collection[str],
    selection: Selection | None,
    stop: threading.Event = _NEVER,
) -> Iterator[Due]:
    """Walk through the bag once and say when each message is due; reads no clock."""
    first = _first_ns(reader, options)
    seen = dict.fromkeys(topics, -1)
    for message in _stretch(reader, options, topics, stop):
        seen[message.topic] += 1
        if selection is None or seen[message.topic] in selection[message.topic]:
            due = round((message.time_ns - first) / options.rate)
            yield Due(message.topic, message.time_ns, due, message.cdr)


def _first_ns(reader: BagReader, options: Playback) -> int:
    return reader.start_ns + round(options.start_offset_s * 1e9)


def _stretch(
    reader: BagReader, options: Playback, topics: Collection[str], stop: threading.Event
) -> Iterator[BagMessage]:
    """Yield the messages between offset and duration, until stopped."""
    first = _first_ns(reader, options)
    last = None if options.duration_s is None else first + round(options.duration_s * 1e9)
    for message in reader.messages(topics):
        if stop.is_set() or (last is not None and message.time_ns >= last):
            return
        if message.time_ns < first:
            continue
        yield message


def play(path: Path, options: Playback) -> int:
    """Play a bag until its end, or until SIGINT, SIGTERM or SIGHUP.

    Returns:
        Exit code: 0 played or interrupted, 3 no subscriber in time.

    Raises:
        BagError: the bag cannot be read, or holds nothing that can be published.
    """
    with BagReader(path) as reader:
        summary = reader.summary()
        prepare_process()
        chosen = _choose(summary, options)
        _need_images(summary, chosen)
        if options.start_offset_s * 1e9 > summary.duration_ns:
            raise BagError(
                f"start_offset_s is {options.start_offset_s}, but {path} is only "
                f"{summary.duration_ns / 1e9:.1f} s long; give less"
            )
        from segmif_ros.ros.tools.participant import participant

        stop = threading.Event()
        with stopping(stop), participant("segmif_bag_player") as (node, _):
            return _Player(reader, chosen, options, (node, stop)).run()


def _choose(summary: BagSummary, options: Playback) -> list[tuple[Topic, Any]]:
    """Find the message classes; topics that cannot be published are named and left out."""
    from segmif_ros.ros.qos import check_topic_name

    if options.topics is not None:
        names = {topic.name for topic in summary.topics}
        if unknown := sorted(set(options.topics) - names):
            raise BagError(f"no topic {unknown[0]!r} in {summary.path}: {summary.listing()}")
    chosen, left_out = [], []
    kinds = Counter(topic.name for topic in summary.topics)
    for topic in summary.topics:
        if options.topics is not None and topic.name not in options.topics:
            continue
        kind = message_class(topic.type)
        if kinds[topic.name] > 1:
            left_out.append(f"{topic.name}: it holds messages of {kinds[topic.name]} types")
            continue
        if kind is None:
            left_out.append(f"{topic.name}: message type {topic.type} is not installed")
            continue
        try:
            check_topic_name(options.remap.get(topic.name, topic.name))
        except ValueError as err:
            left_out.append(f"{str(err).partition(';')[0]}; publish it with --remap")
            continue
        chosen.append((topic, kind))
    for line in left_out:
        sys.stderr.write(f"left out, {line}\n")
    return chosen


def message_class(kind: str) -> Any:
    """Return the class of a message type such as "std_msgs/msg/String", None if not installed."""
    package, _, name = kind.partition("/msg/")
    try:
        return getattr(import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def _need_images(summary: BagSummary, chosen: list[tuple[Topic, Any]]) -> None:
    if not any(topic.type in IMAGES and topic.count for topic, _ in chosen):
        raise BagError(
            f"no images to play in {summary.path}; it holds {summary.listing()}. "
            "Record raw camera images, or make a bag with `segmif bag make`"
        )


class _Player:
    def __init__(
        self,
        reader: BagReader,
        chosen: list[tuple[Topic, Any]],
        options: Playback,
        graph: tuple[Any, threading.Event],
    ) -> None:
        self._reader = reader
        self._options = options
        self._node, self._stop = graph
        self._topics = {topic.name: topic for topic, _ in chosen}
        # Before the clock starts: it may have to read the whole bag.
        self._selection = select(reader, options, self._topics.keys(), self._stop)
        self._publishers = {
            topic.name: self._node.create_publisher(
                kind, options.remap.get(topic.name, topic.name), _qos(topic)
            )
            for topic, kind in chosen
        }
        self._headed = {
            topic.name
            for topic, kind in chosen
            if next(iter(kind.get_fields_and_field_types().values()), "") == "std_msgs/Header"
        }
        self._clock: Any = None
        if options.clock:
            from rosgraph_msgs.msg import Clock

            self._clock = self._node.create_publisher(Clock, "/clock", 10)
        self._next_clock_ns = 0
        self._late_ns = 0

    def run(self) -> int:
        """Wait for subscribers, play, say how it went."""
        missing = self._wait_for_subscribers()
        if missing:
            sys.stderr.write(
                f"{NO_SUBSCRIBER} no subscriber on {', '.join(missing)} within "
                f"{self._options.wait_s:g} s; "
                "check the topic names (--remap), ROS_DOMAIN_ID and ROS_AUTOMATIC_DISCOVERY_RANGE\n"
            )
            return EXIT_NO_SUBSCRIBER
        self._stop.wait(self._options.start_delay_s)
        started = time.monotonic()
        sent = self._play_all()
        self._stop.wait(_LINGER_S)
        sys.stdout.write(
            f"played {sent} messages of {len(self._publishers)} topics in "
            f"{time.monotonic() - started:.1f} s, at most {self._late_ns / 1e6:.0f} ms late\n"
        )
        return 0

    def _wait_for_subscribers(self) -> list[str]:
        """Return the image topics still without a subscriber at the end of the wait."""
        if self._options.wait_s is None:
            return []
        images = [
            name for name, topic in self._topics.items() if topic.type in IMAGES and topic.usable
        ]
        # Topics without a reader in this system, such as labels, must not hold up the rest.
        wanted = [name for name in images if not name.endswith("/labels")]
        deadline = time.monotonic() + self._options.wait_s
        while True:
            missing = [n for n in wanted if not self._publishers[n].get_subscription_count()]
            if not missing or time.monotonic() > deadline or self._stop.wait(0.05):
                return [] if self._stop.is_set() else missing

    def _play_all(self) -> int:
        total = sum(topic.count for topic in self._topics.values())
        expected = None if self._options.loop else total // self._options.every
        sent = 0
        start_ns = time.monotonic_ns()
        # Wall time minus monotonic time is frozen here: stamps must not follow clock corrections.
        wall_ns = time.time_ns() - start_ns
        with tqdm(total=expected, unit="msg", desc="playing", disable=None) as bar:
            while True:
                last_ns = 0
                for due in schedule(
                    self._reader, self._options, self._topics.keys(), self._selection, self._stop
                ):
                    self._wait_until(start_ns + due.due_ns, due)
                    if self._stop.is_set():
                        return sent
                    self._publish(due, start_ns + wall_ns)
                    last_ns = due.due_ns
                    sent += 1
                    bar.update()
                if not self._options.loop or not sent:
                    return sent
                start_ns += last_ns + self._period_ns()

    def _period_ns(self) -> int:
        rate = max(topic.rate_hz for topic in self._topics.values())
        return round(1e9 * self._options.every / (max(rate, 1.0) * self._options.rate))

    def _wait_until(self, due_ns: int, due: Due) -> None:
        while not self._stop.is_set():
            now = time.monotonic_ns()
            left = due_ns - now
            if self._clock is not None and now >= self._next_clock_ns:
                self._tick(due.bag_ns - max(0, round(left * self._options.rate)))
                self._next_clock_ns = now + _CLOCK_PERIOD_NS
            if left <= 0:
                self._late_ns = max(self._late_ns, -left)
                return
            step = left if self._clock is None else min(left, _CLOCK_PERIOD_NS)
            self._stop.wait(step / 1e9)

    def _tick(self, bag_ns: int) -> None:
        from builtin_interfaces.msg import Time
        from rosgraph_msgs.msg import Clock

        seconds, nanoseconds = divmod(bag_ns, 1_000_000_000)
        self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))

    def _publish(self, due: Due, start_wall_ns: int) -> None:
        cdr = due.cdr
        if self._options.restamp and due.topic in self._headed:
            # due_ns belongs to the recording time; the header stamp lies this much beside it.
            with suppress(BagError):  # subscribers refuse a message without a header
                beside = round((header_stamp_ns(cdr) - due.bag_ns) / self._options.rate)
                cdr = with_header_stamp(cdr, start_wall_ns + due.due_ns + beside)
        self._publishers[due.topic].publish(cdr)


def _qos(topic: Topic) -> Any:
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    if topic.type.startswith("sensor_msgs/"):
        return QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    durability = DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=10, durability=durability)
