# SPDX-License-Identifier: Apache-2.0
"""Figures as tables, for a terminal and for Markdown alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

STAGES = (
    ("transport", "transport"),
    ("wait", "wait for the partner"),
    ("queue", "wait for the worker"),
    ("conversion", "conversion"),
    ("thermal", "thermal"),
    ("registration", "registration"),
    ("inference", "inference"),
    ("publish", "publishing"),
    ("work", "worker total"),
    ("around", "worker without the engine"),
    ("node", "received to published"),
)
"""Key in the figures, and what people read."""


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns; the first column is text, the rest numbers."""
    table = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    rule = [
        "-" * width if column == 0 else "-" * (width - 1) + ":"
        for column, width in enumerate(widths)
    ]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in (table[0], rule, *table[1:])
    ]
    return "\n".join(lines)


def run_table(result: Mapping[str, Any]) -> str:
    """Return the figures of one run for a terminal."""
    rows = [
        _row(name, result["stages_ms"][key]) for key, name in STAGES if key in result["stages_ms"]
    ]
    ages = result["age_ms"]
    rows += [_row(f"age at the listener: {key}", ages[key]) for key in ages if ages[key]]
    pairs = result["pairs"]
    lines = [
        markdown(("ms", "p50", "p95", "p99", "max", "samples"), rows),
        f"pairs: {pairs['sent']} sent at {result['sent_hz']:.2f} Hz, {pairs['paired']} paired, "
        f"{pairs['published']} published, {pairs['heard']} received; "
        f"lost {100 * result['lost_share']:.2f} %"
        + "".join(f", {number} {reason}" for reason, number in result["loss"].items()),
        f"node: {result['cpu_ms_per_pair']:.2f} ms of processor time a pair sent = "
        f"{result['core_percent_per_hz']:.2f} core-percent per Hz",
    ]
    for name, cost in result["costs"].items():
        threads = ", ".join(
            f"{kind} {share:.1f}" for kind, share in cost["threads_percent"].items() if share > 0.05
        )
        lines.append(
            f"{name}: {cost['core_percent']:.1f} % of a core ({threads}), {cost['rss_mb']:.0f} MB "
            f"resident, peak {cost['peak_mb']:.0f} MB, growth {cost['growth_mb']:+.2f} MB"
        )
    lines += [f"doubt: {text}" for text in result["doubts"]]
    return "\n".join(lines)


def _row(name: str, summary: Mapping[str, float]) -> tuple[str, ...]:
    figures = (f"{summary[key]:.2f}" for key in ("p50", "p95", "p99", "max"))
    return (name, *figures, f"{summary['count']:.0f}")


def comparison_table(comparison: Mapping[str, Mapping[str, float]]) -> str:
    """Return each peer's figures over ours."""
    head = ("times ours", "age p50", "age p99", "CPU a result", "output rate", "more lost")
    keys = ("age_p50_ms", "age_p99_ms", "cpu_ms_per_result", "output_hz")
    rows = [
        (peer, *(f"{ratios[key]:.2f}" for key in keys), f"{100 * ratios['lost_share']:+.1f} %")
        for peer, ratios in comparison.items()
    ]
    return markdown(head, rows)


def overload_table(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Return what overload did, one row a factor."""
    head = (
        "cameras send", "held Hz", "output Hz", "share", "age p50", "age p99", "last/first tenth",
        "MB a minute", "holds",
    )  # fmt: skip
    rows = []
    for v in verdicts:
        memory = v["memory_mb_per_minute"]
        rows.append(
            (
                f"{v['factor']:.1f}x",
                f"{v['sustainable_hz']:.2f}",
                f"{v['output_hz']:.2f}",
                f"{v['output_share']:.2f}",
                f"{v['age_p50_ratio']:.2f}x",
                f"{v['age_p99_ratio']:.2f}x",
                f"{v['age_last_over_first_tenth']:.2f}",
                "-" if memory is None else f"{memory:+.2f}",
                "yes" if v["holds"] else "no",
            )
        )
    return markdown(head, rows)
