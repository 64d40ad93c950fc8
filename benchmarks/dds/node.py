# SPDX-License-Identifier: Apache-2.0
"""The node under test: segmif_node itself, whose own figures are written at the end.

Nothing is added to the way of a frame: the node keeps these figures for /diagnostics anyway.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import enumerate as living_threads
from time import monotonic
from typing import Any

from benchmarks.dds.processes import NAME_LENGTH, THREAD_PREFIX
from benchmarks.dds.protocol import MARKED, READY
from benchmarks.dds.signals import Cues, Settled, announce, boot_id, write_result
from segmif_ros.pairing import Stream
from segmif_ros.ros.node import main as process
from segmif_ros.ros.node.node import SegmifNode
from segmif_ros.ros.node.statistics import Statistics

_BEGINS = ("pairs", "singles")
_ENDS = ("published", "replaced", "skipped", "withdrawn", "withheld", "failures")
"""How work for the worker begins, and every way in which it ends."""


def counters(statistics: Statistics) -> dict[str, int]:
    """Return every counter of the node under one name each."""
    found = {name: int(getattr(statistics, name)) for name in (*_BEGINS, *_ENDS)}
    for stream in Stream:
        counts = statistics.streams[stream]
        found[f"received.{stream.value}"] = counts.received
        found[f"refused.{stream.value}"] = counts.refused_total()
        for reason, number in counts.dropped.items():
            found[f"dropped.{stream.value}.{reason.value}"] = number
    return found


def is_idle(found: Mapping[str, int]) -> bool:
    """Return whether every pair has come to an end."""
    return sum(found[name] for name in _BEGINS) == sum(found[name] for name in _ENDS)


class Observer:
    """Takes the counters at each cue, once they have settled.

    Attributes:
        marks: counters, and how many samples of each stage there were, at each cue.
        engine: the node's facts about its engine.
    """

    def __init__(self, cues: Cues) -> None:
        self._cues = cues
        self._node: SegmifNode | None = None
        self._settled = Settled()
        self._wanted = 0
        self.marks: list[dict[str, dict[str, int]]] = []
        self.engine: dict[str, str] = {}

    def watch(self, watched: SegmifNode) -> None:
        """Follow the cues; called by the node after each round of its executor."""
        if self._node is None:
            self._node = watched
            self.engine = watched.engine_facts
            _name_threads()
            announce(READY)
        if self._cues.next():
            self._wanted += 1
        if len(self.marks) < self._wanted:
            now = counters(watched.statistics)
            if self._settled.look(now, monotonic(), idle=is_idle(now)):
                self.marks.append(self._mark())
                announce(f"{MARKED} {len(self.marks)}")

    def result(self) -> dict[str, Any]:
        """Return what happened between the first cue and the last.

        Raises:
            RuntimeError: fewer than two cues came.
        """
        if self._node is None or len(self.marks) < 2:
            raise RuntimeError(f"{len(self.marks)} cues came, expected 2")
        first, last = self.marks[0], self.marks[-1]
        statistics = self._node.statistics
        samples = {
            stage: kept.newest(last["samples"][stage] - first["samples"][stage])
            for stage, kept in statistics.stages_ms.items()
        }
        return {
            "counters": {k: n - first["counters"][k] for k, n in last["counters"].items()},
            "samples_ms": samples,
            "engine": self.engine,
            "boot_id": boot_id(),
        }

    def _mark(self) -> dict[str, dict[str, int]]:
        assert self._node is not None
        statistics = self._node.statistics
        samples = {stage: kept.count for stage, kept in statistics.stages_ms.items()}
        return {"counters": counters(statistics), "samples": samples}


def _name_threads() -> None:
    """Let the kernel know our threads by name: their processor time is then counted apart."""
    for thread in living_threads():
        if thread.name.startswith(THREAD_PREFIX) and thread.native_id is not None:
            comm = Path(f"/proc/self/task/{thread.native_id}/comm")
            comm.write_text(thread.name[:NAME_LENGTH])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT, then write its figures; return the node's exit code.

    Args:
        argv: `--out FILE`, then the node's own arguments.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    args, rest = parser.parse_known_args(argv)
    observer = Observer(Cues())
    code = process.main(rest, watch=observer.watch)
    if code == 0:
        write_result(args.out, observer.result())
    return code


if __name__ == "__main__":
    sys.exit(main())
