# SPDX-License-Identifier: Apache-2.0
"""Gathers the facts and publishes the diagnostics, from a thread of its own.

So a worker that hangs, an executor that waits for it, and a model that loads for minutes are all
reported while they last. The thread runs on steady time; stamps follow the node's clock.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from threading import Event, Lock, Thread
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.qos import QoSProfile

from segmif_ros.error_codes import LogThrottle, code_of
from segmif_ros.pairing import Stream
from segmif_ros.parameters import DEFAULTS, ParameterError, Settings
from segmif_ros.registration import Geometry
from segmif_ros.ros.diagnostics.diagnostics_input import (
    FIVE_SECONDS_NS,
    AlignmentFacts,
    Budget,
    Deadline,
    DiagnosticsInput,
    InputFacts,
    Memory,
    ProcessFacts,
    Totals,
    TotalsHistory,
    UsualRate,
)
from segmif_ros.ros.diagnostics.levels import BUDGET_ERROR, BUDGET_WARN, DiagnosticEntry, Level
from segmif_ros.ros.diagnostics.statuses import entries_of, judged_stage, to_message
from segmif_ros.ros.node.alignment import Measured
from segmif_ros.ros.node.camera_infos import CameraInfoWatch
from segmif_ros.ros.node.modes import ModeStatus
from segmif_ros.ros.node.node_parameters import NodeParameters
from segmif_ros.ros.node.statistics import NANOSECONDS, ClockWatch, Statistics
from segmif_ros.ros.qos import DIAGNOSTICS_TOPIC, full_name, mismatches, overridable
from segmif_ros.ros.transport import other_users

if TYPE_CHECKING:
    from rclpy.node import Node

    from segmif_ros.ros.node.inputs import Inputs

_JOIN_S = 2.0
_LONGEST_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The node's parts at one moment; they may be replaced any time after.

    Attributes:
        lifecycle: state of the node, or the transition that it is in.
        statistics: counters and times.
        inputs: the subscriptions, None while inactive.
        active_since_ns: steady time of the activation, None while inactive.
        engine: facts about the engine, empty while none is loaded.
        mode_status: the mode in force and its reason.
        calibration: thermal to RGB geometry, None without one.
        measured: state of the alignment watch.
    """

    lifecycle: str
    statistics: Statistics
    inputs: Inputs | None
    active_since_ns: int | None
    engine: Mapping[str, str]
    mode_status: ModeStatus
    calibration: Geometry | None = None
    measured: Measured = field(default_factory=Measured)


class Reporter:
    """Publishes one report per period until it is closed."""

    def __init__(
        self, node: Node, parameters: NodeParameters, snapshot: Callable[[], Snapshot]
    ) -> None:
        """Start reporting.

        Args:
            node: owner of the topic.
            parameters: read at every report, so that live changes take effect.
            snapshot: gives the node's parts; called on this thread, must not wait.
        """
        self._node = node
        self._parameters = parameters
        self._snapshot = snapshot
        self._publisher = node.create_publisher(
            DiagnosticArray,
            DIAGNOSTICS_TOPIC,
            QoSProfile(depth=10),
            qos_overriding_options=overridable(),
        )
        self._lock = Lock()
        self._stop = Event()
        self._clock = ClockWatch()
        self._memory = Memory()
        self._errors = ErrorLog()
        self._camera_infos = {stream: CameraInfoWatch() for stream in Stream}
        self._throttle = LogThrottle()
        self._begin(snapshot().statistics)
        self._thread = Thread(target=self._run, name="segmif-reporter", daemon=True)
        self._thread.start()

    def report(self) -> None:
        """Publish now, from any thread."""
        with self._lock:
            now_ns = monotonic_ns()
            entries = entries_of(self._gather(self._snapshot(), self._settings(), now_ns))
            stamp = self._node.get_clock().now().to_msg()
            name = self._node.get_fully_qualified_name()
            self._publisher.publish(to_message(entries, node=name, stamp=stamp))
            # Three calls: rclpy refuses another severity from a place that has logged already.
            logger = self._node.get_logger()
            for level, line in self._errors.problems(entries, now_ns):
                if level >= Level.ERROR:
                    logger.error(line)
                else:
                    logger.warning(line)
            for line in self._errors.recoveries(entries):
                logger.info(line)

    def flush(self, seconds: float) -> None:
        """Wait until those who listen have the last report."""
        self._publisher.wait_for_all_acked(Duration(seconds=seconds))

    def close(self) -> None:
        """Stop reporting and remove the topic. Safe to call twice."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join(_JOIN_S)
        with self._lock:
            self._node.destroy_publisher(self._publisher)

    def _begin(self, statistics: Statistics) -> None:
        """Reset: the node was configured."""
        totals, now_ns = Totals.of(statistics), monotonic_ns()
        self._statistics = statistics
        self._second = TotalsHistory(totals, now_ns)
        self._five_seconds = TotalsHistory(totals, now_ns, FIVE_SECONDS_NS)
        self._rates = {stream: UsualRate() for stream in Stream}
        self._missed = {BUDGET_WARN: Deadline(), BUDGET_ERROR: Deadline()}

    def _run(self) -> None:
        reported_ns = monotonic_ns()
        while not self._stop.wait(self._pause_s(reported_ns)):
            period_ns = self._period_ns()
            if monotonic_ns() - reported_ns < period_ns:
                continue
            # From when it was due, so that the rate holds; missed reports are not repeated.
            reported_ns = max(reported_ns + period_ns, monotonic_ns() - period_ns)
            try:
                self.report()
            except Exception as err:
                # The thread must continue; a fault in one report is logged and the next is tried.
                self._log(err)

    def _period_ns(self) -> int:
        return round(NANOSECONDS / self._settings().diagnostics_rate_hz)

    def _pause_s(self, reported_ns: int) -> float:
        """Return the time to wait: short, so that a changed rate acts at once."""
        left_ns = reported_ns + self._period_ns() - monotonic_ns()
        return max(0.0, min(left_ns / NANOSECONDS, _LONGEST_PAUSE_S))

    def _log(self, err: Exception) -> None:
        if self._throttle.ready(monotonic_ns()):
            text = f"{code_of(err)} diagnostics failed: {err!r}\n{traceback.format_exc()}"
            self._node.get_logger().error(text)

    def _settings(self) -> Settings:
        """Return the settings in force, the defaults as long as a value given at start is bad."""
        try:
            return self._parameters.settings()
        except ParameterError:
            return DEFAULTS

    def _gather(self, seen: Snapshot, settings: Settings, now_ns: int) -> DiagnosticsInput:
        statistics = seen.statistics
        if statistics is not self._statistics:
            self._begin(statistics)
        totals = Totals.of(statistics)
        facts = DiagnosticsInput(
            statistics=statistics,
            before=self._second.before(now_ns, totals),
            window=self._five_seconds.before(now_ns, totals),
            now_ns=now_ns,
            active_since_ns=seen.active_since_ns,
            inputs={s: self._input_facts(s, seen, settings, now_ns) for s in Stream},
            reference="" if seen.inputs is None else seen.inputs.pairer.reference.value,
            engine=seen.engine,
            budget=Budget(settings.latency_budget_warn_ms, settings.latency_budget_error_ms),
            mode_status=seen.mode_status,
            offset_ns=settings.pairing.thermal_offset_ns - settings.pairing.rgb_offset_ns,
            process=self._process_facts(seen, now_ns),
            alignment=AlignmentFacts(
                seen.measured,
                settings.alignment_check_s,
                settings.alignment_warn_px,
                seen.calibration is not None,
            ),
        )
        return self._with_missed(facts)

    def _with_missed(self, facts: DiagnosticsInput) -> DiagnosticsInput:
        samples = facts.statistics.stages_ms[judged_stage(facts)]
        budget = facts.budget
        self._missed[BUDGET_WARN].observe(samples, budget.warn_ms)
        self._missed[BUDGET_ERROR].observe(samples, budget.error_ms)
        missed = (self._missed[BUDGET_WARN].missed, self._missed[BUDGET_ERROR].missed)
        return replace(facts, budget=Budget(budget.warn_ms, budget.error_ms, *missed))

    def _input_facts(
        self, stream: Stream, seen: Snapshot, settings: Settings, now_ns: int
    ) -> InputFacts:
        if seen.inputs is None:
            return InputFacts()
        rate = seen.statistics.streams[stream].rate.hz(now_ns)
        self._rates[stream].observe(rate, now_ns)
        given = settings.expected_hz[stream]
        topic = seen.inputs.camera(stream).topic
        publishers: list[Any] = self._node.get_publishers_info_by_topic(topic)
        return InputFacts(
            topic=topic,
            publishers=len(publishers),
            other_users=() if rate or not publishers else tuple(other_users()),
            publisher_names=tuple(full_name(publisher) for publisher in publishers),
            mismatches=tuple(
                mismatches(
                    topic,
                    publishers,
                    seen.inputs.camera(stream).qos,
                    wanted_type=seen.inputs.camera(stream).type_name,
                )
            ),
            other_transport="" if publishers else self._other_transport(topic),
            held=seen.inputs.pairer.held(stream),
            content=seen.inputs.freeze(stream),
            usual_hz=given or self._rates[stream].hz(),
            rate_is_given=given > 0,
            camera_info_problem=self._camera_info_problem(stream, seen),
            focal_lengths=_focal_lengths(seen.inputs.camera_info(stream).newest),
        )

    def _other_transport(self, topic: str) -> str:
        """Return the topic of the same images, compressed or not, if that has a publisher."""
        raw = topic.removesuffix("/compressed")
        other = raw if raw != topic else f"{topic}/compressed"
        return other if self._node.count_publishers(other) else ""

    def _camera_info_problem(self, stream: Stream, seen: Snapshot) -> str:
        """Return why a camera_info cannot be right; of RGB also why none is published."""
        if seen.inputs is None:
            return ""
        newest = seen.inputs.camera_info(stream).newest
        problem = self._camera_infos[stream].problem(newest, seen.calibration, stream.value)
        if stream is Stream.RGB:
            problem = problem or seen.statistics.camera_info_problem
        return problem

    def _process_facts(self, seen: Snapshot, now_ns: int) -> ProcessFacts:
        simulated = bool(self._node.get_parameter("use_sim_time").value)
        clock = self._clock.observe(
            simulated=simulated,
            now_ns=self._node.get_clock().now().nanoseconds,
            steady_ns=monotonic_ns(),
        )
        self._memory.observe(seen.active_since_ns, now_ns)
        return ProcessFacts(
            lifecycle=seen.lifecycle,
            clock=clock,
            clock_still_ns=self._clock.still_ns,
            clock_jump_ns=self._clock.jump_ns,
            resident_mib=self._memory.resident_mib,
            growth_mib=self._memory.growth_mib,
        )


QUIET_NS = 10 * NANOSECONDS
"""A state that comes and goes is logged at most this often."""
_LOGGED_ELSEWHERE = "mode"
"""Every change of the mode is in the log already."""
_LOGGED_AS_WARNING = "registration"
"""The one warning that belongs in the log: it lasts until the rig is calibrated."""
_INACTIVE = "inactive"
_LATER, _LATER_NS = "never_seen", 30 * NANOSECONDS
"""A camera that never sent an image: drivers often start after the node, so it is logged later."""


class ErrorLog:
    """What was logged of each status."""

    def __init__(self) -> None:
        self._logged: dict[str, DiagnosticEntry] = {}
        self._logged_ns: dict[tuple[str, str], int] = {}
        self._since_ns: dict[str, int] = {}

    def problems(self, entries: Iterable[DiagnosticEntry], now_ns: int) -> list[tuple[Level, str]]:
        """Return what is wrong now and was not logged yet, with its level.

        Args:
            entries: of one report.
            now_ns: steady time.
        """
        lines = []
        for entry in filter(_belongs_in_log, entries):
            key = (entry.concern, entry.state)
            before = self._logged.get(entry.concern)
            if entry.state != _LATER:
                self._since_ns.pop(entry.concern, None)
            elif now_ns - self._since_ns.setdefault(entry.concern, now_ns) < _LATER_NS:
                continue
            quiet = now_ns - self._logged_ns.get(key, -QUIET_NS) < QUIET_NS
            if quiet or (before is not None and before.state == entry.state):
                continue
            self._logged[entry.concern], self._logged_ns[key] = entry, now_ns
            lines.append((entry.level, f"{entry.concern}: {entry.text}"))
        return lines

    def recoveries(self, entries: Iterable[DiagnosticEntry]) -> list[str]:
        """Return what was logged and is over.

        Args:
            entries: of one report.
        """
        lines = []
        for entry in entries:
            if entry.concern in self._logged and not _belongs_in_log(entry):
                was = "error" if self._logged.pop(entry.concern).level >= Level.ERROR else "warning"
                if entry.state == _INACTIVE:
                    continue  # the state only ended because the node stopped
                but = ", still a warning" if entry.level > Level.OK else ""
                lines.append(f"{entry.concern}: no {was} any more{but}: {entry.text}")
        return lines


def _belongs_in_log(entry: DiagnosticEntry) -> bool:
    if entry.concern == _LOGGED_AS_WARNING:
        return entry.level >= Level.WARN
    return entry.level >= Level.ERROR and entry.concern != _LOGGED_ELSEWHERE


def _focal_lengths(info: Any) -> tuple[float, ...]:
    return () if info is None or not info.k[0] > 0.0 else (float(info.k[0]), float(info.k[4]))
