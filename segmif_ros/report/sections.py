# SPDX-License-Identifier: Apache-2.0
"""The parts of report.html, each made from the report alone; an empty part is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from segmif_ros.report.markup import (
    NOTHING,
    Markup,
    element,
    facts,
    first_seen,
    joined,
    number,
    percent,
    table,
)
from segmif_ros.report.meanings import meaning
from segmif_ros.report.score_sections import ROWS, scores_of
from segmif_ros.report.svg_plots import Line, bars, line_plot

Report = Mapping[str, Any]


_STAGES = {
    "read": "reading and converting",
    "conversion": "message to array",
    "thermal": "thermal rendering",
    "registration": "registration",
    "inference": "network",
    "far_pass": "network, middle at 2x",
    "transport": "camera stamp to node",
    "wait": "waiting for the partner",
    "queue": "waiting for the engine",
    "publish": "publishing",
    "node": "node, receipt to published",
    "total": "camera stamp to published",
}


def title_of(report: Report) -> str:
    """Return the page's title: the model and what it was evaluated on."""
    names = [PurePath(str(source["path"])).name for source in report["sources"]]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{report['model'].get('name', 'model')} on {shown or 'nothing'}"


def banners(report: Report) -> Markup:
    """Return what a reader must know before any number: partial, failed, skipped bags."""
    verdict = report["verdict"]
    parts = []
    if report["partial"]:
        parts.append(
            _banner(
                "warn",
                "Partial report",
                f"The evaluation did not reach its end: {report['partial']}. "
                "All numbers are of what was evaluated until then.",
            )
        )
    if verdict["passed"] is None:
        parts.append(_banner("", "No verdict", "No thresholds were given."))
    else:
        failed = [check for check in verdict["checks"] if not check["passed"]]
        lines = [
            f"{check['name']} is {number(check['value'], 4)}, wanted {check['limit']}"
            for check in failed
        ]
        word = "Passed" if verdict["passed"] else "Failed"
        told = f"{len(verdict['checks']) - len(failed)} of {len(verdict['checks'])} checks passed."
        parts.append(_banner("passed" if verdict["passed"] else "failed", word, told, lines))
    bad = [source for source in report["sources"] if source["status"] != "ok"]
    if bad:
        lines = [f"{source['path']}: {source['status']}, {source['reason']}" for source in bad]
        told = f"{len(bad)} of {len(report['sources'])} bags are missing or incomplete here."
        parts.append(_banner("warn", "Bags left out", told, lines))
    if report.get("notes"):
        parts.append(_banner("", "Notes", "", [str(note) for note in report["notes"]]))
    return joined(parts)


def tiles(report: Report) -> Markup:
    """Return the few numbers that most readers come for."""
    pairs, timing = report["pairs"], report["timing"]
    entries: list[tuple[object, str, str]] = [
        (
            meaning("pairs"),
            number(pairs.get("evaluated")),
            f"evaluated, of {number(pairs.get('paired'))}",
        )
    ]
    for row in ROWS:
        scores = scores_of(report, row, "all")
        for protocol, value in list((scores.get("protocols") or {}).items())[:1]:
            entries.append((meaning("miou", f"mIoU {row}"), number(value), protocol))
    ssim = report["fusion"].get("all", {}).get("fused", {}).get("SSIM")
    if ssim is not None:
        entries.append((meaning("SSIM", "SSIM fused"), number(ssim), "all light"))
    flicker = report["flicker"].get("fused")
    if flicker is not None:
        against = f"visible {number(report['flicker'].get('visible'))}"
        entries.append((meaning("flicker"), number(flicker), against))
    stage = timing["stages"].get("inference") or {}
    if stage:
        entries.append((meaning("engine"), _ms(stage.get("p50")), f"p95 {_ms(stage.get('p95'))}"))
    live = timing.get("live") or {}
    total = (live.get("latency_ms") or {}).get("total")
    if total:
        entries.append((meaning("latency"), _ms(total.get("p50")), f"p95 {_ms(total.get('p95'))}"))
    if live.get("sent"):
        lost = f"{number(live.get('lost'))} of {number(live['sent'])} pairs"
        entries.append(("lost on the way", percent(live["lost"] / live["sent"]), lost))
    entries.append(("rate", f"{number(timing.get('pairs_per_s'), 1)}", "pairs a second"))
    difference = report["sync"].get("difference_ms", {})
    entries.append((meaning("difference"), _ms(difference.get("p95")), "95 % of pairs below"))
    return element(
        "ul",
        *(
            element("li", name, element("span", value, class_="figure"), _more(more))
            for name, value, more in entries
        ),
        class_="tiles",
    )


def checks(report: Report) -> Markup:
    """Return the thresholds as a table."""
    rows = [
        (check["name"], number(check["value"], 4), check["limit"], _mark(check["passed"]))
        for check in report["verdict"]["checks"]
    ]
    if not rows:
        return NOTHING
    return table(("check", "value", "wanted", ""), rows, caption="Thresholds")


def timing(report: Report) -> Markup:
    """Return rates, stages, latency of a live run, and times over the drive."""
    found = report["timing"]
    rows: list[Sequence[object]] = [
        ("wall time", f"{number(found.get('wall_s'), 1)} s"),
        ("pairs a second, everything", number(found.get("pairs_per_s"), 1)),
        ("pairs a second, engine alone", number(found.get("engine_pairs_per_s"), 1)),
    ]
    parts = [table(("", "value"), rows, caption="Rate on this machine")]
    if found.get("live"):  # the stages are the same ones then
        parts.append(_live(found["live"]))
    elif found["stages"]:
        parts.append(_stage_table(found["stages"], "Milliseconds"))
    lines = _lines(found.get("series"), lambda name: name.endswith("_ms"))
    parts.append(line_plot("Time for a pair", "ms", lines[:4]))
    return joined(parts)


def _live(live: Mapping[str, Any]) -> Markup:
    """Return what a run through the node over DDS adds: latency by stage, and what was lost."""
    rates = [
        ("pairs sent", number(live.get("sent"))),
        ("of these lost", number(live.get("lost"))),
        ("sent a second", number(live.get("rate_in_hz"), 1)),
        ("came out a second", number(live.get("rate_out_hz"), 1)),
    ]
    ages = {f"camera stamp to subscriber, {k}": v for k, v in (live.get("age_ms") or {}).items()}
    return joined(
        [
            element("h3", "Live, through the node over DDS"),
            table(("", "value"), rates),
            element("p", meaning("latency"), ", milliseconds:"),
            _stage_table({**(live.get("latency_ms") or {}), **ages}, "Latency by stage"),
            bars("Lost pairs by reason", live.get("dropped") or {}, "pairs"),
        ]
    )


def _stage_table(stages: Mapping[str, Mapping[str, Any]], caption: str) -> Markup:
    rows = [
        (_STAGES.get(stage, stage), *(number(each.get(q), 1) for q in ("p50", "p95", "p99")))
        for stage, each in stages.items()
    ]
    return table(("stage, ms", "p50", "p95", "p99"), rows, caption=caption)


def pairing(report: Report) -> Markup:
    """Return what was received, paired and dropped, and the time difference."""
    pairs, sync = report["pairs"], report["sync"]
    received = pairs.get("received") or {}
    rows: list[Sequence[object]] = [
        *((f"received, {camera}", number(count)) for camera, count in received.items()),
        (meaning("pairs", "paired"), number(pairs.get("paired"))),
        ("evaluated", number(pairs.get("evaluated"))),
        ("lost, of the pairs that could be", percent(pairs.get("lost_share"))),
    ]
    parts = [table(("", "count"), rows, caption="Frames and pairs")]
    dropped = {str(k): v for k, v in (pairs.get("dropped") or {}).items() if v}
    parts.append(bars("Dropped frames by reason", dropped, "frames"))
    if not dropped:
        parts.append(element("p", "No frame was ", meaning("dropped"), "."))
    difference = sync.get("difference_ms") or {}
    if difference:
        head = [meaning("difference", "time difference, ms"), *difference]
        parts.append(table(head, [("size", *(number(v, 1) for v in difference.values()))]))
    lines = _lines(report["frames"], lambda name: name == "difference_ms")
    parts.append(line_plot("Thermal minus RGB stamp", "ms", lines))
    parts.append(_intervals(report))
    return joined(parts)


def alignment(report: Report) -> Markup:
    """Return the shift between the cameras over the drive."""
    found = report["alignment"]
    if not found or not found.get("series"):
        return NOTHING
    series = found["series"]
    if isinstance(series, Mapping):
        columns, rows = series["columns"], series["rows"]
    else:
        columns, rows = ["t_s", "dx_px", "dy_px", "certain"], series
    certain = columns.index("certain") if "certain" in columns else None
    kept = [row for row in rows if certain is None or row[certain]]
    lines = _lines({"columns": columns, "rows": kept}, lambda name: name.startswith(("dx", "dy")))
    told = f"{len(kept)} of {len(rows)} measurements were certain"
    told += f"; median shift {_median(found.get('median_px'))} px." if kept else "."
    return joined([element("p", meaning("alignment"), ": ", told), line_plot("Shift", "px", lines)])


def over_time(report: Report) -> Markup:
    """Return what changes from pair to pair."""
    frames = report["frames"]
    groups: Sequence[tuple[str, str, Sequence[str]]] = (
        ("mIoU of each pair", "0 to 1", ("miou",)),
        ("Fusion of the fused image", "0 is worst", ("SSIM", "Qabf", "VIF")),
        ("Confidence", "0 to 1", ("confidence",)),
        ("Contrast (SD)", "grey levels", ("fused_SD", "visible_SD", "thermal_SD")),
        ("Brightness of the visible picture", "grey levels", ("brightness",)),
        ("Network", "ms", ("engine_ms",)),
    )
    tables = (frames, report.get("fusion_frames"))
    plots = [
        line_plot(
            title, unit, [line for each in tables for line in _lines(each, names.__contains__)]
        )
        for title, unit, names in groups
    ]
    if not any(plots):
        return NOTHING
    every = frames.get("every") or 1
    spacing = "each pair" if every == 1 else f"every {every}th pair of each bag"
    note = f"One point for {spacing}; lines break where the next bag begins."
    return joined([element("p", note, class_="note"), element("div", *plots, class_="plots")])


def origin(report: Report) -> Markup:
    """Return bags, model, versions, machine and settings."""
    rows = [
        (
            source["path"],
            source["status"],
            f"{number(source['duration_s'], 1)} s",
            f"{source['bytes'] / 1e6:.1f} MB",
            ", ".join(f"{name} {topic}" for name, topic in source["topics"].items()),
        )
        for source in report["sources"]
    ]
    head = ("bag", "status", "length", "size", "topics")
    model = {key: value for key, value in report["model"].items() if key != "classes"}
    parts = [
        table(head, rows, caption="Bags"),
        facts(model, "Model"),
        facts(report["versions"], "Versions"),
        facts(report["machine"], "Machine"),
        facts({"created": report["created"], "written bag": report["bag"]}, "Run"),
        element("details", element("summary", "Settings"), facts(report["settings"], "Settings")),
    ]
    return joined(parts)


def _intervals(report: Report) -> Markup:
    """Return what the stamps of each camera of each bag look like."""
    told = report["sync"].get("intervals") or []
    cameras = [
        (f"{PurePath(str(source['path'])).name}, {camera}", found)
        for source, each in zip(report["sources"], told, strict=False)
        for camera, found in (each.get("intervals") or {}).items()
    ]
    if not cameras:
        return NOTHING
    columns = first_seen(found for _, found in cameras)
    head = ["camera", *(column.replace("_", " ") for column in columns)]
    rows = [(name, *(_count(found.get(c)) for c in columns)) for name, found in cameras]
    return table(head, rows, caption="Stamps of each camera")


def _ms(value: float | None) -> str:
    return number(value) if value is None else f"{value:.1f} ms"


def _count(value: object) -> str:
    return number(value, 2) if isinstance(value, float) else number(value)


def _lines(series: Mapping[str, Any] | None, wanted: Callable[[str], bool]) -> list[Line]:
    """Return the wanted columns of a table against its first column, in its order."""
    if not series:
        return []
    columns = [str(name) for name in series["columns"]]
    return [
        Line(name, [(row[0], row[index]) for row in series["rows"] if row[0] is not None])
        for index, name in enumerate(columns)
        if index and wanted(name)
    ]


def _median(value: object) -> str:
    if isinstance(value, list | tuple):
        return " / ".join(number(each, 1) for each in value)
    return number(value, 1)


def _banner(kind: str, word: str, told: str, lines: Sequence[str] = ()) -> Markup:
    shown = element("ul", *(element("li", line) for line in lines)) if lines else NOTHING
    name = f"banner {kind}".strip()
    return element("div", element("b", word), f" {told}", shown, class_=name, role="note")


def _more(text: str) -> Markup:
    return element("span", text, class_="more")


def _mark(passed: bool) -> Markup:
    kind = "better" if passed else "worse"
    return element("span", "passed" if passed else "failed", class_=f"mark {kind}")
