# SPDX-License-Identifier: Apache-2.0
"""Hours of the node over DDS at 30 Hz, with a random fault of the fault matrix every minute.

    python benchmarks/soak.py --hours 1 --seed 1 --out benchmarks/results/soak.json

Rig, node, listener and rows are those of test/faults. After each fault the minute goes on without
one; ages, memory and threads are taken there. Beside the JSON lies a plot of the same name.
`--every 3` makes faults one after the other: is it faults or time that memory grows with?
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import traceback
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic, monotonic_ns, time_ns
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "test" / "helpers")]
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

from segmif_ros.ros.transport import prepare_process  # noqa: E402

prepare_process()

import faulty_engine_node  # noqa: E402
from fault_bench import SIZE, Bench, own_memory  # noqa: E402
from fault_observer import Span, Status  # noqa: E402
from fault_rows import (  # noqa: E402
    DRIVERS_KILLED,
    ERROR,
    RAISING,
    SOMETIMES,
    STEADY,
    STUCK,
    UNEXPECTED,
    Row,
)
from fault_run import WrongResultsError, run_row  # noqa: E402
from tiny_model import write_tiny_bundle  # noqa: E402

from benchmarks.dds.__main__ import rounded  # noqa: E402
from benchmarks.dds.machine import machine_facts  # noqa: E402
from benchmarks.dds.processes import read_process  # noqa: E402
from segmif_ros.cli.managed_process import private_domain  # noqa: E402
from segmif_ros.report.svg_plots import Line, line_plot  # noqa: E402

MINUTE_S = 60.0
CALM_S = 10.0
"""Least time without a fault at the end of each minute."""
SAMPLE_S = 10.0
SETTLED_SHARE = 0.15
"""Of the whole time: caches and pools fill meanwhile, the slope of memory is taken after it."""
COMPARED_S = 600.0
"""First and last stretch whose ages are compared; a third of a run that is shorter than three."""
ENGINE_WORDS = {RAISING: "fail", UNEXPECTED: "surprise", SOMETIMES: "sometimes", STUCK: "stuck"}
ROWS = (*STEADY, *ENGINE_WORDS, DRIVERS_KILLED)
KEPT = 400
"""So many of the newest pictures and reports stay in the memory of the listener."""
LIMITS = {
    "memory_percent_an_hour": 1.0,
    "descriptors_gained": 0,
    "threads_gained": 0,
    "shared_memory_files_gained": 0,
    "frames_unaccounted": 0,
    "pairs_unaccounted": 0,
    "minutes_left_in_error": 0,
    "rows_failed": 0,
    "age_p99_last_over_first": 1.2,
}
"""Largest values of the checks."""


@dataclass
class Record:
    """What was seen; times are seconds since the start."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, float]] = field(default_factory=list)
    ages: list[tuple[float, float]] = field(default_factory=list)
    minutes: list[dict[str, Any]] = field(default_factory=list)


class Soak:
    """One run.

    Args:
        bench: rig, node and listener.
        command: file that sets how the node's engine fails.
        seed: of the order of the faults.
        every_s: time from fault to fault; at least a sixth of it is without one.
    """

    def __init__(self, bench: Bench, command: Path, seed: int, every_s: float = MINUTE_S) -> None:
        self._bench, self._command, self._every_s = bench, command, every_s
        self._random = random.Random(seed)
        self._deck: list[Row] = []
        self._began = 0.0
        self.record = Record()

    def run(self, seconds: float) -> None:
        """Soak for that long; failed rows are kept, a process that ended by itself is raised."""
        self._began = monotonic()
        minute = 0
        share = self._every_s / MINUTE_S
        while self._now() < seconds:
            minute += 1
            self._fault()
            self._bench.settle(())
            span = self._bench.observer.span()
            end = max(minute * self._every_s, self._now() + CALM_S * share)
            while self._now() < end:
                due = self._now() + SAMPLE_S * share
                self._bench.observer.until(lambda due=due: self._now() >= due, "the next sample")
                self._sample()
            self._close_minute(minute, span)

    def accounts(self) -> dict[str, int]:
        """Return frames and pairs without a fate, after the cameras have been silent for long."""
        self._bench.faults("both:stop")
        due = monotonic() + 5.0
        self._bench.observer.until(lambda: monotonic() >= due, "the last frames")
        return self._unaccounted()

    def _now(self) -> float:
        return monotonic() - self._began

    def _fault(self) -> None:
        if not self._deck:
            self._deck = list(ROWS)
            self._random.shuffle(self._deck)
        row = self._deck.pop()
        began_s, found = self._now(), self.record.rows
        try:
            run_row(self._bench, row, found, **self._means(row))
        except (AssertionError, WrongResultsError) as err:
            if self._bench.observer.alarm():
                raise
            found[-1]["failure"] = f"{type(err).__name__}: {err}"[:2000]
            sys.stderr.write(f"{row.name}: {traceback.format_exc()}\n")
            self._command.write_text("")
            if self._bench.rig is None:
                self._bench.another_rig()
        found[-1] |= {"began_s": began_s, "took_s": self._now() - began_s}

    def _means(self, row: Row) -> dict[str, Any]:
        if row is DRIVERS_KILLED:
            return {
                "begin": lambda: self._bench.end_rig(signal.SIGKILL),
                "end": self._bench.another_rig,
            }
        if row not in ENGINE_WORDS:
            return {}
        return {"begin": lambda: self._give(ENGINE_WORDS[row]), "end": lambda: self._give("")}

    def _give(self, word: str) -> int:
        if not word:  # a stuck engine empties the file itself, when it is done
            until = self._bench.observer.until
            until(lambda: self._command.read_text() != "stuck", "the end of the inference")
        part = self._command.with_suffix(".part")
        part.write_text(word)
        part.replace(self._command)
        return monotonic_ns()

    def _sample(self) -> None:
        sample = {"at_s": self._now(), "load": os.getloadavg()[0]}
        for name, child in (("node", self._bench.node), ("rig", self._bench.rig)):
            folder = Path("/proc") / str(child.process.pid)
            reading = read_process(child.process.pid)
            sample |= {
                f"{name}_own_mb": reading.anonymous_mb,
                f"{name}_descriptors": len(list((folder / "fd").iterdir())),
                f"{name}_threads": len(list((folder / "task").iterdir())),
                f"{name}_shared_memory_files": len(own_memory(child.process.pid)),
            }
        self.record.samples.append(sample)

    def _close_minute(self, minute: int, span: Span) -> None:
        wall = time_ns() - monotonic_ns()
        ages = [(p.seen_ns + wall - p.stamp_ns) / 1e6 for p in span.pictures("fused")]
        self.record.ages += [(self._now(), age) for age in ages]
        row = self.record.rows[-1]
        at_end = {
            "minute": minute,
            "row": row["name"],
            "passed": row["passed"],
            "results": len(ages),
            "age_p50_ms": float(np.percentile(ages, 50)),
            "age_p99_ms": float(np.percentile(ages, 99)),
            "errors": [s.concern for s in self._newest() if s.level >= ERROR],
            "unaccounted": self._unaccounted(),
            "complaints": self._bench.complaints(span, (0.0,))[:5],
        }
        self.record.minutes.append(at_end)
        print(json.dumps(rounded(at_end)), flush=True)
        seen = self._bench.observer.seen
        for kept in (seen.pictures, seen.statuses, seen.sent, seen.modes):
            del kept[:-KEPT]

    def _newest(self) -> list[Status]:
        """The statuses of the newest whole report."""
        statuses = list(self._bench.observer.seen.statuses[-60:])
        times = sorted({status.seen_ns for status in statuses})
        return [status for status in statuses if status.seen_ns == times[-2]]

    def _unaccounted(self) -> dict[str, int]:
        """Frames and pairs that no counter of the newest report knows; see docs/diagnostics.md."""
        by_concern = {status.concern: status.values for status in self._newest()}
        pairing = {k: v for k, v in by_concern["pairing"].items() if v.isdigit()}
        count = {key: int(value) for key, value in pairing.items()}
        engine, mode = by_concern["engine"], by_concern["mode"]
        frames = 0
        for camera in ("rgb", "thermal"):
            dropped = sum(n for k, n in count.items() if k.startswith(f"dropped.{camera}."))
            ended = int(by_concern[camera]["refused"]) + count["pairs"] + dropped
            ended += count[f"held.{camera}"]
            frames += abs(int(by_concern[camera]["received"]) - ended)
        begun = count["pairs"] + int(mode["singles"])
        done = int(engine["published"]) + int(engine["failures"]) + int(mode["withheld"])
        done += count["replaced"] + count["skipped"] + count["withdrawn"]
        return {"frames": frames, "pairs": abs(begun - done)}


def slope_percent_an_hour(samples: list[dict[str, float]], key: str) -> float:
    """Return the slope of the straight line through a value after it settled, percent an hour."""
    settled = samples[int(SETTLED_SHARE * len(samples)) :]
    at_h = np.array([s["at_s"] for s in settled]) / 3600.0
    values = np.array([s[key] for s in settled])
    return float(np.polyfit(at_h, values, 1)[0] / values[0] * 100.0)


def gained(samples: list[dict[str, float]], what: str) -> int:
    """Return how much more of something node and rig have in the last quarter than in the first."""
    quarter = max(1, len(samples) // 4)
    told = ("node", "rig")
    first = max(sum(s[f"{name}_{what}"] for name in told) for s in samples[:quarter])
    last = min(sum(s[f"{name}_{what}"] for name in told) for s in samples[-quarter:])
    return int(max(0, last - first))


def judge(record: Record, accounts: dict[str, int], seconds: float) -> dict[str, Any]:
    """Return the checks: value, limit, and whether it is kept."""
    stretch_s = min(COMPARED_S, seconds / 3)
    first_s, last_s = record.ages[0][0], record.ages[-1][0]
    first = [age for at_s, age in record.ages if at_s < first_s + stretch_s]
    last = [age for at_s, age in record.ages if at_s > last_s - stretch_s]
    values = {
        "memory_percent_an_hour": slope_percent_an_hour(record.samples, "node_own_mb"),
        "descriptors_gained": gained(record.samples, "descriptors"),
        "threads_gained": gained(record.samples, "threads"),
        "shared_memory_files_gained": gained(record.samples, "shared_memory_files"),
        "frames_unaccounted": accounts["frames"],
        "pairs_unaccounted": accounts["pairs"],
        "minutes_left_in_error": sum(bool(m["errors"] or m["complaints"]) for m in record.minutes),
        "rows_failed": sum(not row["passed"] for row in record.rows),
        "age_p99_last_over_first": float(np.percentile(last, 99) / np.percentile(first, 99)),
    }
    return {
        name: {"value": value, "limit": LIMITS[name], "kept": value <= LIMITS[name]}
        for name, value in values.items()
    }


def plot(record: Record) -> str:
    """Return the SVG: memory, ages, and what must not grow."""
    at = [(s["at_s"] / 60, s) for s in record.samples]
    kinds = ("descriptors", "threads", "shared_memory_files")
    figures = [
        line_plot("memory", "MB", [Line(n, [(t, s[f"{n}_own_mb"]) for t, s in at])
                                   for n in ("node", "rig")], "min"),
        line_plot("age", "ms", [Line(p, [(m["minute"], m[f"age_{p}_ms"]) for m in record.minutes])
                                for p in ("p50", "p99")], "min"),
        line_plot("node", "", [Line(kind, [(t, s[f"node_{kind}"]) for t, s in at])
                               for kind in kinds], "min"),
    ]  # fmt: skip
    names = (("node, own memory, MB", "rig, own memory, MB"),
             ("age of results p50, ms", "p99, ms"),
             ("descriptors of the node", "threads", "shared-memory files"))  # fmt: skip
    colours = ("#1b6ca8", "#c8553d", "#3c8d5a")
    parts = []
    for index, figure in enumerate(map(str, figures)):
        svg = figure[figure.index("<svg") : figure.index("</svg>") + 6]
        parts.append(f'<svg x="{370 * index}" y="20" width="360" height="190">{svg}</svg>')
        legend = " ".join(f'<tspan fill="{c}">{n}</tspan>'
                          for n, c in zip(names[index], colours, strict=False))  # fmt: skip
        parts.append(f'<text x="{370 * index + 10}" y="14">{legend}</text>')
    style = "text{font:11px sans-serif}.grid{stroke:#ddd}" + "".join(
        f".line{i}{{stroke:{c}}}" for i, c in enumerate(colours)
    )
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1110 215">'
    box = '<rect width="1110" height="215" fill="#fff"/>'
    return f"{head}<style>{style}</style>{box}{''.join(parts)}</svg>\n"


def main() -> int:
    """Soak, write the figures, and return 0 when every check is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1, help="of the order of the faults")
    parser.add_argument(
        "--every",
        type=float,
        default=MINUTE_S,
        metavar="S",
        help="seconds from fault to fault (default: %(default)g)",
    )
    parser.add_argument("--out", type=Path, default=Path("soak.json"), metavar="JSON")
    args = parser.parse_args()
    seconds = args.hours * 3600.0
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="segmif_soak_") as scratch:
        folder = Path(scratch)
        command = folder / "command"
        command.write_text("")
        os.environ[faulty_engine_node.COMMAND_VARIABLE] = str(command)
        bench = Bench(folder, private_domain(), write_tiny_bundle(folder / "model", SIZE))
        soak = Soak(bench, command, args.seed, args.every)
        try:
            bench.begin("engine", program=[str(Path(faulty_engine_node.__file__))])
            soak.run(seconds)
            accounts = soak.accounts()
        finally:
            bench.close()
    record = soak.record
    checks = judge(record, accounts, seconds)
    report = {
        "created": created,
        "hours": args.hours,
        "seed": args.seed,
        "machine": machine_facts(),
        "checks": checks,
        **{name: value for name, value in asdict(record).items() if name != "ages"},
    }
    args.out.write_text(json.dumps(rounded(report), separators=(",", ":")) + "\n")
    args.out.with_suffix(".svg").write_text(plot(record))
    for name, check in checks.items():
        print(f"{'kept' if check['kept'] else 'BROKEN':7}{name}: {check['value']:.4g}, "
              f"limit {check['limit']:g}")  # fmt: skip
    return 0 if all(check["kept"] for check in checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
