# SPDX-License-Identifier: Apache-2.0
"""Writes the tables and the plot of docs/benchmarks.md from the files in benchmarks/results.

python -m benchmarks.node_tables            write them
python -m benchmarks.node_tables --check    exit 1 if the document shows anything else
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.dds.comparison import key_figures
from benchmarks.dds.processes import THREAD_KINDS
from benchmarks.dds.tables import STAGES, comparison_table, markdown, overload_table
from benchmarks.node_arithmetic import carried
from benchmarks.node_plot import plot
from benchmarks.node_runs import RESULTS, RUNS, command

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENT = REPOSITORY / "docs" / "benchmarks.md"
PLOT = REPOSITORY / "docs" / "images" / "benchmarks.svg"

Report = Mapping[str, Any]
Reports = Mapping[str, Report]
_PERCENTILES = ("p50", "p95", "p99", "max")


def machine(reports: Reports) -> str:
    """Where and when, and what was wrong with the runs."""
    facts = reports["vga"]["machine"]
    days = sorted({report["created"][:10] for report in reports.values()})
    lines = [
        f"- processor: {facts['cpu']}, {facts['cores']} cores ({facts['instructions']})",
        f"- kernel {facts['kernel']}, {facts['ros']}, Python {facts['python']}",
        f"- measured {days[0] if days[0] == days[-1] else f'{days[0]} to {days[-1]}'}",
    ]
    doubts = [
        f"  - `{name}`: {'; '.join(texts)}"
        for name, report in reports.items()
        if (
            texts := list(dict.fromkeys(d for run in report.get("runs", ()) for d in run["doubts"]))
        )
    ]
    lines.append("- runs with doubts:" if doubts else "- no run raised a doubt")
    return "\n".join([*lines, *doubts])


def stages(name: str) -> Callable[[Reports], str]:
    """Return the writer of one run's stages, the median over its rounds."""

    def write(reports: Reports) -> str:
        runs = _own(reports[name])
        rows = [
            (label, *(_median(runs, "stages_ms", key, p) for p in _PERCENTILES))
            for key, label in STAGES
            if key in runs[0]["stages_ms"]
        ]
        rows += [
            (
                f"age at the listener: {key}",
                *(_median(runs, "age_ms", key, p) for p in _PERCENTILES),
            )
            for key in runs[0]["age_ms"]
        ]
        return markdown(("ms", *_PERCENTILES), rows)

    return write


def subjects(name: str) -> Callable[[Reports], str]:
    """Return the writer of ours beside the ordinary nodes, and of the ratios."""

    def write(reports: Reports) -> str:
        report = reports[name]
        names = list(dict.fromkeys(run["scenario"]["subject"] for run in report["runs"]))
        rows = []
        for subject in names:
            own = [run for run in report["runs"] if run["scenario"]["subject"] == subject]
            f = key_figures(own)
            rows.append(
                (
                    subject,
                    f"{f['age_p50_ms']:.1f}",
                    f"{f['age_p99_ms']:.1f}",
                    f"{f['cpu_ms_per_result']:.1f}",
                    f"{f['output_hz']:.1f}",
                    f"{100 * f['lost_share']:.1f} %",
                )
            )
        head = ("node", "age p50 ms", "age p99 ms", "CPU ms a result", "output Hz", "lost")
        return markdown(head, rows) + "\n\n" + comparison_table(report["comparison"])

    return write


def listeners(reports: Reports) -> str:
    """What a pair costs with different outputs wanted."""
    titles = {
        "vga_nobody_lazy": "none, `lazy` set",
        "vga_nobody": "none",
        "vga": "fused, mask",
        "vga_all": "all four",
    }
    *named, _ = THREAD_KINDS
    rows = []
    for name, title in titles.items():
        run = _own(reports[name])[0]
        threads = run["costs"]["node0"]["threads_percent"]
        # All that has no column is in the last one, or the columns would not make the sum.
        shown = sum(threads.get(kind, 0.0) for kind in named)
        rate = run["scenario"]["rate_hz"]
        rows.append(
            (
                title,
                f"{run['cpu_ms_per_pair']:.2f}",
                *(f"{10 * threads.get(kind, 0.0) / rate:.2f}" for kind in named),
                f"{10 * (sum(threads.values()) - shown) / rate:.2f}",
                f"{run['core_percent_per_hz']:.2f}",
            )
        )
    head = ("subscribed", "CPU ms a pair", *THREAD_KINDS, "core-percent per Hz")
    return markdown(head, rows)


def rates(reports: Reports) -> str:
    """The same at other camera rates."""
    return _overview(reports, ("vga_9hz", "vga", "vga_60hz"), lambda run: f"{_rate(run):g} Hz")


def nano(reports: Reports) -> str:
    """The shipped model."""
    names = ("nano_onnxruntime", "nano_15hz", "nano_40hz")
    return _overview(
        reports, names, lambda run: f"{run['engine']['name']}, {_rate(run):g} Hz", inference=True
    )


def sizes(reports: Reports) -> str:
    """Cost against pixels."""
    rows = []
    for name in _SIZES:
        run = _own(reports[name])[0]
        width, height = run["scenario"]["rgb_size"]
        megapixels = width * height / 1e6
        rows.append(
            (
                f"{width}x{height}",
                f"{megapixels:.2f}",
                *(f"{run['stages_ms'][s]['p50']:.2f}" for s in ("transport", "work")),
                f"{run['age_ms']['all']['p50']:.1f}",
                f"{run['age_ms']['all']['p99']:.1f}",
                f"{run['cpu_ms_per_pair']:.1f}",
                f"{run['cpu_ms_per_pair'] / megapixels:.1f}",
            )
        )
    head = (
        "RGB", "megapixels", "transport p50", "worker p50", "age p50", "age p99", "CPU ms a pair",
        "CPU ms a megapixel",
    )  # fmt: skip
    return markdown(head, rows)


_SIZES = tuple(name for name in RUNS if name.startswith("size_"))


RIGS = ("rigs_1", "rigs_2", "rigs_4")
NANO_RIGS = (
    "nano_rigs_1",
    "nano_rigs_2",
    "nano_rigs_2_single",
    "nano_rigs_4",
    "nano_rigs_4_single",
)


def rigs(names: Sequence[str]) -> Callable[[Reports], str]:
    """Return the writer of several rigs on one machine."""

    def write(reports: Reports) -> str:
        return markdown(
            ("rigs", "engine threads", "core-percent a rig", "CPU ms a pair", "MB a node",
             "inference p50", "age p50", "age p99", "output Hz a rig", "lost"),
            [_rigs_row(_own(reports[name])[0]) for name in names],
        )  # fmt: skip

    return write


def _rigs_row(run: Report) -> tuple[str, ...]:
    count = run["scenario"]["rigs"]
    nodes = [cost for key, cost in run["costs"].items() if key.startswith("node")]
    return (
        str(count),
        str(run["scenario"]["threads"] or "all"),
        f"{sum(c['core_percent'] for c in nodes) / count:.1f}",
        f"{run['cpu_ms_per_pair']:.1f}",
        f"{max(c['rss_mb'] for c in nodes):.0f}",
        f"{run['stages_ms']['inference']['p50']:.1f}",
        f"{run['age_ms']['all']['p50']:.1f}",
        f"{run['age_ms']['all']['p99']:.1f}",
        f"{run['output_hz']:.1f}",
        f"{100 * run['lost_share']:.1f} %",
    )


def carry(reports: Reports) -> str:
    """What other machines should carry."""
    return carried(float(_median(_own(reports["vga"]), "cpu_ms_per_pair")))


def memory(reports: Reports) -> str:
    """What the processes hold."""
    rows = []
    for name in ("vga", "sxga", "nano_15hz"):
        for process, cost in _own(reports[name])[0]["costs"].items():
            figures = (cost[key] for key in ("rss_mb", "anonymous_mb", "peak_mb"))
            growth = f"{cost['growth_mb']:+.2f}"
            rows.append((f"{name}: {process}", *(f"{value:.0f}" for value in figures), growth))
    return markdown(("process", "resident MB", "anonymous MB", "peak MB", "growth MB"), rows)


def overloads(name: str) -> Callable[[Reports], str]:
    """Return the writer of what overload did."""

    def write(reports: Reports) -> str:
        calm, *loaded = (run["scenario"]["seconds"] for run in reports[name]["runs"])
        table = overload_table(reports[name]["overload"])
        return f"{table}\n\n{calm:g} s at the light load, then {loaded[0]:g} s each."

    return write


def warm_start(reports: Reports) -> str:
    """From configure to the first output."""
    starts = reports["warm_start"]["starts_ms"]
    rows = []
    for key, label in (
        ("configure", "configured: model read, compiled, warmed up"),
        ("activate", "active: subscribed"),
        ("first_output", "first fused image and mask at the listener"),
    ):
        values = sorted(start[key] for start in starts)
        rows.append(
            (label, *(f"{v:.0f}" for v in (values[0], values[len(values) // 2], values[-1])))
        )
    return markdown(
        (f"ms after `configure`, {len(starts)} starts", "minimum", "median", "maximum"), rows
    )


def commands(_: Reports) -> str:
    """Every run as one would type it."""
    width = max(map(len, RUNS))
    program = "python -m benchmarks.dds"
    lines = [f"    {name:<{width}}  {program} {' '.join(command(name))}" for name in RUNS]
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[Reports], str]] = {
    "machine": machine,
    "vga": stages("vga"),
    "sxga": stages("sxga"),
    "vga-peers": subjects("vga"),
    "sxga-peers": subjects("sxga"),
    "nano-peers": subjects("nano_40hz"),
    "listeners": listeners,
    "rates": rates,
    "nano": nano,
    "sizes": sizes,
    "rigs": rigs(RIGS),
    "rigs-nano": rigs(NANO_RIGS),
    "memory": memory,
    "carry": carry,
    "overload": overloads("overload"),
    "overload-nano": overloads("overload_nano"),
    "warm-start": warm_start,
    "commands": commands,
}
"""Name of a marked block in the document -> what writes its text."""


def _overview(
    reports: Reports,
    names: Sequence[str],
    title: Callable[[Report], str],
    *,
    inference: bool = False,
) -> str:
    rows = []
    for name in names:
        run = _own(reports[name])[0]
        age = run["age_ms"]["all"]
        row = [title(run)]
        if inference:
            row.append(f"{run['stages_ms']['inference']['p50']:.1f}")
        rows.append(
            [
                *row,
                f"{run['stages_ms']['around']['p50']:.2f}",
                *(f"{age[p]:.1f}" for p in _PERCENTILES[:3]),
                f"{run['output_hz']:.1f}",
                f"{100 * run['lost_share']:.1f} %",
                f"{run['cpu_ms_per_result']:.1f}",
            ]
        )
    head = [
        "", *(["inference p50 ms"] if inference else []), "around the engine p50 ms", "age p50 ms",
        "p95", "p99", "output Hz", "lost", "CPU ms a result",
    ]  # fmt: skip
    return markdown(head, rows)


def _own(report: Report) -> list[Report]:
    return [run for run in report["runs"] if run["scenario"]["subject"] == "segmif"]


def _rate(run: Report) -> float:
    return float(run["scenario"]["rate_hz"])


def _median(runs: Sequence[Report], *path: str) -> str:
    values = []
    for run in runs:
        value: Any = run
        for key in path:
            value = value[key]
        values.append(float(value))
    return f"{sorted(values)[len(values) // 2]:.2f}"


class MissingRunError(KeyError):
    """A run that a block needs was not made yet."""


class Results(dict[str, Report]):
    """Report of each run by its name."""

    def __missing__(self, name: str) -> Report:
        raise MissingRunError(name)


def load(folder: Path) -> Results:
    """Read the files of the runs that were made."""
    files = ((name, folder / f"{name}.json") for name in RUNS)
    return Results({name: json.loads(path.read_text()) for name, path in files if path.is_file()})


def filled(text: str, reports: Reports) -> str:
    """Return the document with every marked block written again.

    Raises:
        KeyError: the document marks an unknown block.
    """

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        writer = BLOCKS[name]
        try:
            content = writer(reports)
        except MissingRunError as missing:
            run = missing.args[0]
            content = f"Not measured yet: `python -m benchmarks.node_runs {run}`"
        return f"<!-- figures: {name} -->\n\n{content}\n\n<!-- end -->"

    return re.sub(r"<!-- figures: (?P<name>[\w-]+) -->.*?<!-- end -->", block, text, flags=re.S)


def _outputs(reports: Reports) -> Iterator[tuple[Path, str]]:
    yield DOCUMENT, filled(DOCUMENT.read_text(encoding="utf-8"), reports)
    yield PLOT, plot(reports)


def main() -> int:
    """Write the document and the plot, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    for path, text in _outputs(load(args.results)):
        if args.check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                print(f"{path} does not show the figures; run python -m benchmarks.node_tables")
                return 1
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
