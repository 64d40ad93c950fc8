# SPDX-License-Identifier: Apache-2.0
"""Runs the demo for real: the node and an image source as processes, and a recorder here."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from segmif_ros.cli.command_line import progress_bar
from segmif_ros.cli.demo_pictures import PANE
from segmif_ros.cli.demo_sources import Plan, Source
from segmif_ros.cli.managed_process import (
    ManagedProcess,
    remove_orphans,
    shared_memory,
    uninterrupted,
)
from segmif_ros.pairing import PairingConfig
from segmif_ros.recordings.recording import OUTPUTS
from segmif_ros.recordings.topics import camera_of
from segmif_ros.report.run_summary import RunReport, summarize_run

if TYPE_CHECKING:
    from tqdm import tqdm

    from segmif_ros.ros.tools.recorder import Listener, Recorder

NODE = "/segmif"
READY_S = 120.0
"""A model may have to be compiled at the first start."""

_QUIET_S, _QUIET_PAIRS, _QUIET_AGES = 0.6, 2.0, 3.0
"""So long without an output (seconds, pairs, or ages of outputs, whichever is longest) ends a
session. The node counts its cameras as lost later: after 1 s, or two and a half periods."""
_FIRST_S = 3.0
"""So long after the source a first output may come."""
_DRAIN_S = 15.0
_STOP_S = 6.0
_NOTE_EVERY_S = 0.5
_DIAGNOSTICS_HZ = 5.0


class DemoSessionError(RuntimeError):
    """A process of the session failed; the message says which one and shows what it wrote last."""


class DemoSession:
    """One node, one source, one recorder, on a private ROS domain.

    Use as a context manager: leaving it ends every process that was started.
    """

    def __init__(
        self,
        source: Source,
        log: Path,
        *,
        domain: int,
        parameters: dict[str, Any],
        pairing: PairingConfig | None = None,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            source: where images come from.
            log: folder for the logs of all processes.
            domain: ROS_DOMAIN_ID.
            parameters: ROS parameters of the node.
            pairing: as set by the parameters, the node's defaults if None.
        """
        self._pairing = pairing or PairingConfig()
        self._source = source
        self._log = log
        self._parameters = parameters
        self._domain = domain
        self._children: list[ManagedProcess] = []
        self._environment: dict[str, str] = {}
        self._noted_s = 0.0
        self._ros: Listener
        self._node: ManagedProcess | None = None
        self.recorder: Recorder

    def __enter__(self) -> DemoSession:
        """Join the private domain and start listening."""
        from segmif_ros.ros.transport import prepare_process

        self._log.mkdir(parents=True, exist_ok=True)
        os.environ.update(
            ROS_DOMAIN_ID=str(self._domain),
            ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
            ROS_LOG_DIR=str(self._log.resolve()),
            PYTHONUNBUFFERED="1",
        )
        prepare_process()
        self._environment = dict(os.environ)
        # Imports rclpy, which must find the process prepared.
        from segmif_ros.ros.tools.recorder import Listener, RecorderTopics

        topics = RecorderTopics(
            self._source.rgb_topic, self._source.thermal_topic, NODE, self._pairing
        )
        self._ros = Listener(topics, PANE)
        self.recorder = self._ros.recorder
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes, then leave the domain."""
        with uninterrupted():
            for child in self._children:
                child.interrupt()
            # A child that was killed leaves the ports behind that others shared with it.
            segments = shared_memory(os.getpid())
            for child in reversed(self._children):
                child.stop(_STOP_S)
                segments |= child.segments
            self._ros.close()
            remove_orphans(segments, of_us_too=True)

    def start_node(self) -> float:
        """Start the node and wait until it listens; return its warm-up time, milliseconds.

        Raises:
            DemoSessionError: it ended, or was not ready in time.
        """
        settings = self._log / "segmif_node.yaml"
        parameters = {
            **self._parameters,
            "input_transport": self._source.input_transport,
            "diagnostics_rate_hz": _DIAGNOSTICS_HZ,
        }
        settings.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        self._node = self._start(
            "segmif_node",
            [
                *(sys.executable, "-m", "segmif_ros.ros.node.main", "--ros-args"),
                *("--params-file", str(settings)),
                *("-r", f"~/input/rgb:={camera_of(self._source.rgb_topic)}"),
                *("-r", f"~/input/thermal:={camera_of(self._source.thermal_topic)}"),
            ],
        )
        with progress_bar(desc="starting segmif_node", bar_format="{desc} {elapsed}") as bar:
            return self._warmed_up(self._node, bar)

    def _warmed_up(self, node: ManagedProcess, bar: tqdm[Any]) -> float:
        started = time.monotonic()
        while True:
            self._ros.spin(0.1)
            waited = time.monotonic() - started
            bar.update()
            self._check(node)
            warmup = self.recorder.value("engine", "warmup_ms")
            if warmup and self.recorder.messages.get("rgb", "inactive") != "inactive":
                node.note_shared_memory()
                return float(warmup)
            if waited > READY_S:
                raise DemoSessionError(
                    f"segmif_node was not ready after {waited:.0f} s; its last lines:\n"
                    f"{node.tail()}\n  its whole log: {node.log}"
                )

    def play(self, plan: Plan) -> None:
        """Run the source while recording, until the last outputs have come.

        The node is to be stopped at once after that: the end of the source is no lost camera.

        Raises:
            DemoSessionError: the source or the node failed.
        """
        with progress_bar(total=plan.pairs, unit="pair", desc="fusing") as bar:
            self._record(plan, self._start("source", plan.command), bar)

    def _record(self, plan: Plan, source: ManagedProcess, bar: tqdm[Any]) -> None:
        seen, changed_s, ended_s = -1, time.monotonic(), math.inf
        while min(self.recorder.counts[name] for name in OUTPUTS) < plan.pairs:
            self._listen(source, bar)
            now_s = time.monotonic()
            if self.recorder.counts["fused"] != seen:
                seen, changed_s = self.recorder.counts["fused"], now_s
            if source.exit_code is None:
                self._listen_to_cameras(source)
            elif source.exit_code != 0:
                raise DemoSessionError(
                    f"the image source ended with exit code {source.exit_code}; its last lines:\n"
                    f"{source.tail()}"
                )
            else:
                ended_s = min(ended_s, now_s)
                quiet = now_s - changed_s > self._quiet_s(plan) and (
                    seen or now_s - ended_s > _FIRST_S
                )
                if quiet or now_s - ended_s > _DRAIN_S:
                    return

    def summary(self, plan: Plan, notes: Sequence[str] = ()) -> RunReport:
        """Return what became of the pairs of a plan; `notes` come before its own."""
        recorder = self.recorder
        return summarize_run(
            recorder.diagnostics,
            source=self._source.facts(),
            pairs_in=plan.pairs,
            counts=recorder.counts,
            ages_ms=recorder.ages_ms,
            rate_in_hz=plan.rate_hz,
            outputs_span_s=recorder.outputs_span_s,
            model=recorder.model,
            notes=(*notes, *plan.notes),
        )

    def _quiet_s(self, plan: Plan) -> float:
        ages_s = [age / 1e3 for age in self.recorder.ages_ms["fused"][-10:]]
        return max(_QUIET_S, _QUIET_PAIRS / plan.rate_hz, _QUIET_AGES * max(ages_s, default=0.0))

    def _listen_to_cameras(self, source: ManagedProcess) -> None:
        # Not earlier: the source starts when it has subscribers, and the node must be one of them.
        if not self._ros.hears_cameras and self._ros.sees_cameras():
            source.note_shared_memory()
            self._ros.listen_to_cameras()

    def stop_node(self) -> None:
        """Stop the node as Ctrl-C would, and receive its last report.

        Raises:
            DemoSessionError: it did not end cleanly.
        """
        assert self._node is not None
        self._node.interrupt()
        deadline = time.monotonic() + _STOP_S
        while self._node.exit_code is None and time.monotonic() < deadline:
            self._ros.spin(0.05)
        code = self._node.stop(0.1)
        self._ros.spin(0.2)
        if code != 0:
            raise DemoSessionError(
                f"segmif_node ended with exit code {code} after SIGINT; its last lines:\n"
                f"{self._node.tail()}"
            )

    def _start(self, name: str, command: Any) -> ManagedProcess:
        with uninterrupted():
            child = ManagedProcess(name, command, self._environment, self._log / f"{name}.log")
            self._children.append(child)
        return child

    def _listen(self, source: ManagedProcess, bar: tqdm[Any]) -> None:
        assert self._node is not None
        self._ros.spin(0.05)
        if time.monotonic() - self._noted_s > _NOTE_EVERY_S:
            self._noted_s = time.monotonic()
            for child in self._children:
                child.note_shared_memory()
        count = self.recorder.counts["fused"]
        words = "" if count else source.last_words()[:60]
        if words or bar.postfix:
            bar.set_postfix_str(words, refresh=False)
        bar.update(count - bar.n)
        self._check(self._node)

    def _check(self, node: ManagedProcess) -> None:
        if node.exit_code is not None:
            raise DemoSessionError(
                f"segmif_node ended with exit code {node.exit_code}; its last lines:\n"
                f"{node.tail()}\n  its whole log: {node.log}"
            )
