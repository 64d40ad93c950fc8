# SPDX-License-Identifier: Apache-2.0
"""The bench of the fault matrix: a rig process, a node process, and one observer of everything.

The rig writes the time of each picture into its pixels, the tiny model hands RGB and thermal on
unchanged. So every output shows when both its pictures were taken, and that must fit its stamp.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns

from fault_observer import Observer, Span, matches
from fault_rows import Expect
from fault_truth import complaints, start_ms
from node_process import NodeProcess

from segmif_ros.cli.managed_process import remove_orphans

OLD_S = 60.0
"""A lock file older than 10 s belongs to no process that is just starting."""

RATE_KNOWN_NS = 10_000_000_000
"""The usual rate is a median of one value a second: after this one, a few others do not move it."""

SIZE = (120, 160)
"""Of all pictures, height and width."""


def own_memory(pid: int) -> set[Path]:
    """Files in /dev/shm that Fast DDS made for a process: it holds their lock files open."""
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the folder was listed
            links.append(entry.readlink())
    locks = [link for link in links if link.name.startswith("fast") and link.name.endswith("_el")]
    return {lock.with_name(lock.name[:-3]) for lock in locks if "port" not in lock.name}


class RigProcess:
    """A running `segmif_rig` with small pictures."""

    def __init__(self, log: Path, domain: int, *options: str) -> None:
        environment = os.environ | {
            "ROS_DOMAIN_ID": str(domain),
            "ROS_LOG_DIR": str(log.with_suffix("")),
            "PYTHONUNBUFFERED": "1",
        }
        self.log = log
        size = f"{SIZE[1]}x{SIZE[0]}"
        fixed = ["--size", size, "--aligned", "--thermal-encoding", "mono8", "--time-code"]
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "segmif_ros.ros.tools.rig_node",
                 *fixed, "--pattern", *options],
                stdout=out, stderr=subprocess.STDOUT, env=environment,
            )  # fmt: skip

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal, and remove what it leaves if it is killed."""
        if self.process.poll() is None:
            memory = own_memory(self.process.pid)
            self.process.send_signal(number)
            try:
                self.process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
            self.process.wait()
            remove_orphans(memory)


class Bench:
    """One rig, the observer, and one node after the other.

    Args:
        folder: for logs.
        domain: DDS domain.
        model: the tiny bundle.
    """

    def __init__(self, folder: Path, domain: int, model: Path) -> None:
        self._folder, self._domain, self._model = folder, domain, model
        self._starts = 0
        self.rig: RigProcess | None = None
        self._rigs_ns: list[int] = []
        self._rig_starts_ms: list[int] = []
        self._program: list[str] = []
        self._parameters: dict[str, object] = {}
        self._set_up = ""
        self.node: NodeProcess | None = None
        self.left: set[Path] = set()
        """Shared memory that was there after the last end of a node."""
        self.observer = Observer(domain)
        self.start_rig()
        self.observer.alarm = self._dead

    def begin(
        self,
        set_up: str,
        faults: str | None = None,
        *,
        program: Iterable[str] = (),
        parameters: dict[str, object] | None = None,
    ) -> None:
        """Have a node of a set-up: nothing is done if it runs, else another one is ended.

        Args:
            set_up: its name.
            faults: of the rig; if given, a node is started in any case, when they are in force.
            program: what the process runs instead of the node itself.
            parameters: of the node, beside those of every node here.
        """
        if self.rig is None:
            self.start_rig()
        if set_up == self._set_up and faults is None:
            if self.node is None:
                self.start_node()
            return
        self.faults(faults or "")
        self.end_node()
        self._set_up = set_up
        self._program, self._parameters = list(program), dict(parameters or {})
        self.start_node()

    def start_rig(self, *options: str) -> None:
        """Start a rig; the times in its pictures start again."""
        self._starts += 1
        self._rigs_ns.append(monotonic_ns())
        self.rig = RigProcess(self._folder / f"rig{self._starts}.log", self._domain, *options)

    def end_rig(self, number: int) -> int:
        """End the rig by a signal; return when."""
        self._learn_starts()
        rig, self.rig = self.rig, None
        began = monotonic_ns()
        rig.end(number)
        return began

    def another_rig(self, *options: str) -> int:
        """Start a rig; return when it begins to publish."""
        self.start_rig(*options)
        rig = self.rig
        self.observer.until(lambda: "publishing" in rig.log.read_text(), "the new rig")
        return monotonic_ns()

    def start_node(self) -> None:
        self._starts += 1
        parameters = {
            "model": self._model,
            "engine": "onnxruntime",
            "engine_threads": 1,
            "diagnostics_rate_hz": 10.0,
            "degraded_after_ms": 700.0,
            "ros_args": [
                *("-r", "~/input/rgb:=/rig/rgb/image_raw"),
                *("-r", "~/input/thermal:=/rig/thermal/image_raw"),
            ],
            **self._parameters,
        }
        log = self._folder / f"node{self._starts}.log"
        self.since_start = self.observer.span()
        self.node = NodeProcess(log, self._domain, parameters, program=self._program)

    def end_node(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """End the node by a signal; return exit code and seconds."""
        node, self.node = self.node, None
        if node is None:
            return 0, 0.0
        memory = own_memory(node.pid)
        assert memory
        ended = node.stop(number)
        self.left = {path for path in memory if path.exists()}
        assert number == signal.SIGKILL or not self.left, f"left in shared memory: {self.left}"
        for path in self.left:  # as if it was made a while ago: what is young is left alone
            lock = path.with_name(f"{path.name}_el")
            os.utime(lock, (lock.stat().st_mtime - OLD_S,) * 2)
        return ended

    def _dead(self) -> str:
        """The log of a process that ended by itself."""
        for child in (self.node, self.rig):
            if child is not None and child.process.poll() is not None:
                return f"exit code {child.process.returncode}\n{child.log.read_text()}"
        return ""

    def close(self) -> None:
        self.observer.alarm = lambda: ""
        if self.node is not None:
            self.node.end()
        if self.rig is not None:
            self.rig.end()
        self.observer.close()

    def faults(self, text: str) -> int:
        """Put faults in force at the rig; return when they are."""
        return self.observer.set_parameter("/rig/rig", "faults", text)

    def settle(self, says: Iterable[Expect]) -> None:
        """Wait until the node fuses and does not report what the next row must make it report."""
        self.faults("")  # a row that failed may have left some
        span = self.observer.span()
        by_rate = any(expect.state in ("low_rate", "high_rate") for expect in says)

        def sound() -> bool:
            if by_rate and not self._fuses_since(monotonic_ns() - RATE_KNOWN_NS):
                return False
            silent = not any(self._reported(expect) for expect in says)
            return silent and self.observer.mode() == "fused" and len(span.pictures("fused")) >= 5

        self.observer.until(sound, f"a sound node that does not report {says}")

    def _fuses_since(self, steady_ns: int) -> bool:
        """Return whether the first fused image of this node came before then."""
        pictures = self.since_start.pictures("fused")
        return bool(pictures) and pictures[0].seen_ns < steady_ns

    def _reported(self, expect: Expect) -> bool:
        newest = [s for s in self.observer.seen.statuses[-40:] if s.concern == expect.concern]
        return bool(newest) and matches(newest[-1], expect)

    def complaints(
        self,
        span: Span,
        clocks_off_s: tuple[float, ...],
        frozen_ms: tuple[int, int] | None = None,
    ) -> list[str]:
        """Return what was wrong with the outputs of a span; see `fault_truth.complaints`."""
        self._learn_starts()
        return complaints(
            span.pictures(),
            self._rig_starts_ms,
            clocks_off_s=clocks_off_s,
            clocks_go_back=any(clocks_off_s),
            frozen_ms=frozen_ms,
        )

    def _learn_starts(self) -> None:
        """Learn from the first picture of a rig when it started, if there is one already."""
        for started_ns in self._rigs_ns[len(self._rig_starts_ms) :]:
            for picture in self.observer.seen.pictures:
                shown = picture.topic == "fused" and picture.bars[0] is not None
                if shown and picture.seen_ns > started_ns:
                    self._rig_starts_ms.append(start_ms(picture))
                    break
