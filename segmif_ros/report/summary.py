# SPDX-License-Identifier: Apache-2.0
"""Combines the results of bags into one report."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segmif_ros.bundle import Bundle, LabelClass, Manifest
from segmif_ros.datasets.protocol import Protocol
from segmif_ros.evaluation.dataset_scores import segmentation_facts
from segmif_ros.evaluation.kept_pictures import Kind, PairImages
from segmif_ros.evaluation.scores import (
    COLUMNS,
    FUSION_COLUMNS,
    MOST_ROWS,
    DownsampledTable,
    DriveScores,
    Histogram,
)
from segmif_ros.evaluation.settings import BEST, SAMPLES, WORST, DriveSettings
from segmif_ros.evaluation.state import BagResult, StoredPicture
from segmif_ros.frames import UNLABELLED
from segmif_ros.metrics.objects import named_figures
from segmif_ros.metrics.tally import ROWS, by_split
from segmif_ros.outputs import write_whole
from segmif_ros.recordings.recording import evenly
from segmif_ros.report.files import PICTURES
from segmif_ros.report.run_summary import report_head
from segmif_ros.report.verdict import Requirement, verdict

SKIPPED = "skipped bags"
"""Name of the check for skipped bags."""

_PLACES = ("model", "labels", "boxes", "calibration", "write_bag")
"""Settings that are paths."""

_PROBLEMS = 20
"""Largest number of listed label problems; each may concern another file."""

_OWN_PICTURE = re.compile(rf"\d{{3,}}_({'|'.join(PairImages._fields)})\.(jpg|png)")
_SERIES = ("t_s", "source", "engine_ms", "pair_ms", "stamp_ns")
_ALIGNMENT = ("t_s", "dx_px", "dy_px", "certain")


def summarize(
    results: Sequence[BagResult],
    bundle: Bundle,
    protocols: Sequence[Protocol],
    settings: DriveSettings,
    requirements: Sequence[Requirement] = (),
    *,
    wall_s: float,
    max_skipped: int = 0,
    partial: str | None = None,
    live: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the report without its pictures.

    Args:
        results: of the bags, in the order in which they were given.
        bundle: the model.
        protocols: how labels were scored.
        settings: of the evaluation.
        requirements: thresholds.
        wall_s: seconds from the first bag to the last.
        max_skipped: so many bags may be skipped, or read only in part, before that is a failure.
        partial: why the evaluation ended early, None if it did not.
        live: figures of a run through the node, None offline.
    """
    counted = [result for result in results if result.scores is not None]
    scores, total = _added_up(counted, settings, bundle, protocols)
    classes = protocols[0].classes if protocols else bundle.manifest.classes
    numbers = [number for number, result in enumerate(results) if result.scores is not None]
    report: dict[str, Any] = {
        **report_head(partial),
        "verdict": {"passed": None, "checks": []},
        "sources": [_source(result, settings) for result in results],
        "model": model_facts(bundle.manifest, counted[0].engine if counted else {}),
        "settings": _shown(settings),
        "pairs": _pairs(counted),
        "sync": {
            "difference_ms": total.difference.summary(),
            "intervals": [result.sync for result in results],
        },
        "alignment": _alignment([each.alignment for each in scores], numbers),
        "timing": _timing(counted, numbers, total.evaluated, wall_s, live),
        "segmentation": _segmentation(total, settings, results),
        "boxes": _boxes(total, settings, bundle),
        "calibration": total.calibration.summary({label.id: label.name for label in classes}),
        "fusion": {**by_split(total.fusion.summary()), "every": settings.metrics_every},
        "flicker": _flicker(total),
        "classes_seen": _classes_seen(total, bundle),
        "same_mask_alone": {row: same / pixels for row, (same, pixels) in total.same.state()},
        "frames": _table(COLUMNS, [each.frames for each in scores], numbers),
        "fusion_frames": _table(FUSION_COLUMNS, [each.fusion_frames for each in scores], numbers),
        "pictures": [],
        "bag": _bag(counted),
        "notes": _notes(results, settings),
    }
    report["verdict"] = _verdict(report, requirements, results, max_skipped)
    return report


def _added_up(
    results: Sequence[BagResult],
    settings: DriveSettings,
    bundle: Bundle,
    protocols: Sequence[Protocol],
) -> tuple[list[DriveScores], DriveScores]:
    """Return the scores of each bag, and their sum."""
    classes = bundle.manifest.classes
    scores = [
        DriveScores.from_state(result.scores or {}, settings, classes, protocols)
        for result in results
    ]
    total = DriveScores(settings, classes, protocols)
    for each in scores:
        total.merge(each)
    return scores, total


def _boxes(total: DriveScores, settings: DriveSettings, bundle: Bundle) -> dict[str, Any] | None:
    if not settings.boxes:
        return None
    return named_figures(total.boxes, total.objects, bundle.manifest.classes)


def remove_pictures(folder: Path) -> None:
    """Remove the pictures of an earlier report; other files are kept."""
    for picture in (folder / PICTURES).glob("*"):
        if _OWN_PICTURE.fullmatch(picture.name):
            picture.unlink()


def write_pictures(
    folder: Path, chosen: Sequence[tuple[str, StoredPicture]]
) -> list[dict[str, Any]]:
    """Write the pictures of a report and return its entries.

    Args:
        folder: of the report.
        chosen: source and picture, in the order of the report.

    Raises:
        OSError: they cannot be written.
    """
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    entries = []
    for number, (source, picture) in enumerate(chosen):
        names = {}
        for name, (suffix, content) in picture.files.items():
            names[name] = f"{PICTURES}/{number:03d}_{name}{suffix}"
            write_whole(folder / names[name], content)
        entries.append(
            {
                "kind": picture.kind,
                "stamp_ns": picture.stamp_ns,
                "source": source,
                "score": picture.score,
                "why": picture.why,
                **names,
            }
        )
    return entries


def chosen_pictures(results: Sequence[BagResult]) -> list[tuple[str, StoredPicture]]:
    """Return the pictures to show of several bags: the worst of all first."""
    chosen: list[tuple[str, StoredPicture]] = []
    kinds: tuple[tuple[Kind, int, float], ...] = (
        ("worst", WORST, 1.0),
        ("best", BEST, -1.0),
        ("sample", SAMPLES, 0.0),
    )
    for kind, count, sign in kinds:
        own = [
            (Path(result.path).name, picture)
            for result in results
            for picture in result.pictures
            if picture.kind == kind
        ]
        if sign:
            chosen += sorted(own, key=lambda each: sign * each[1].score)[:count]
        else:
            chosen += evenly(tuple(own), count)
    return chosen


def _source(result: BagResult, settings: DriveSettings) -> dict[str, Any]:
    facts = {"bytes": 0, "start_ns": 0, "duration_s": 0.0, "topics": {}, **result.source}
    name = Path(result.path).name
    reason = _without_places(result.reason, [result.path], settings)
    return {"path": name, **facts, "status": result.status, "reason": reason}


def _without_places(text: str, bags: Iterable[str], settings: DriveSettings) -> str:
    """Return an error text with file names instead of local paths."""
    places = [getattr(settings, name) for name in _PLACES]
    places += [place for bag in bags for place in (bag, str(Path(bag).resolve()))]
    for place in sorted((p for p in places if p and Path(p).is_absolute()), key=len, reverse=True):
        text = text.replace(place, Path(place).name or place)
    return text


def model_facts(
    manifest: Manifest, engine: Mapping[str, str], classes: Sequence[LabelClass] = ()
) -> dict[str, Any]:
    """Return a report's entries about its model; classes are the model's unless given."""
    return {
        "name": manifest.name,
        "sha256": manifest.sha256,
        "size": list(manifest.size),
        "precision": manifest.precision,
        "classes": [
            {"id": label.id, "name": label.name, "color": list(label.color)}
            for label in classes or manifest.classes
        ],
        "engine": dict(engine),
    }


def _shown(settings: DriveSettings) -> dict[str, Any]:
    """Return the settings without local paths, because reports are shared."""
    shown = settings.to_json()
    for name in _PLACES:
        if shown[name] is not None:
            shown[name] = Path(shown[name]).name
    return shown


def _pairs(results: Iterable[BagResult]) -> dict[str, Any]:
    received: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for result in results:
        received.update(result.pairs["received"])
        dropped.update(result.pairs["dropped"])
        numbers.update({name: result.pairs[name] for name in ("expected", "paired", "evaluated")})
    expected = numbers["expected"]
    lost = 1.0 - numbers["evaluated"] / expected if expected else None
    return {
        "received": dict(received) or {"rgb": 0, "thermal": 0},
        "paired": numbers["paired"],
        "evaluated": numbers["evaluated"],
        "dropped": dict(sorted(dropped.items())),
        "lost_share": lost,
    }


def _alignment(tables: Sequence[DownsampledTable], numbers: Sequence[int]) -> dict[str, Any] | None:
    _, rows = DownsampledTable.joined(tables, numbers)
    if not rows:
        return None
    certain = sorted((dx**2 + dy**2) ** 0.5 for _, _, dx, dy, sure in rows if sure)
    return {
        "columns": list(_ALIGNMENT),
        "series": [[t, dx, dy, bool(sure)] for t, _, dx, dy, sure in rows],
        "median_px": certain[len(certain) // 2] if certain else None,
    }


def _timing(
    results: Sequence[BagResult],
    numbers: Sequence[int],
    evaluated: int,
    wall_s: float,
    live: Mapping[str, Any] | None,
) -> dict[str, Any]:
    stages: dict[str, Histogram] = {}
    for result in results:
        for name, state in result.stages.items():
            stages.setdefault(name, Histogram()).merge(Histogram.from_state(state))
    busy = sum(result.timing["wall_s"] for result in results)
    alone = [result.timing["engine_s"] for result in results if result.timing.get("engine_s")]
    return {
        "wall_s": wall_s,
        "pairs_per_s": evaluated / busy if busy else None,
        "engine_pairs_per_s": len(alone) / sum(alone) if alone else None,
        "stages": {name: spread.summary() for name, spread in stages.items()},
        "series": _table(
            _SERIES, [DownsampledTable(**result.series) for result in results], numbers
        ),
        "live": live,
    }


def _segmentation(
    total: DriveScores, settings: DriveSettings, results: Sequence[BagResult]
) -> dict[str, Any] | None:
    if total.segmentation is None:
        return None
    labels = f"topic {settings.label_topic}" if settings.label_topic else "folder"
    return {
        "labels": labels,
        **segmentation_facts(total.segmentation, total.protocols),
        "problems": _problems(total, settings, results),
    }


def _problems(
    total: DriveScores, settings: DriveSettings, results: Sequence[BagResult]
) -> dict[str, int]:
    """Return the most frequent label problems, the rest as one."""
    bags = [result.path for result in results]
    ranked = sorted(total.label_problems.items(), key=lambda each: (-each[1], each[0]))
    found = {_without_places(text, bags, settings): n for text, n in ranked[:_PROBLEMS]}
    rest = ranked[_PROBLEMS:]
    if rest:
        found["other reasons"] = sum(count for _, count in rest)
    return found


def _flicker(total: DriveScores) -> dict[str, float | None]:
    values = {row: total.flicker[row].value for row in ROWS}
    inputs = [v for v in (values["visible"], values["thermal"]) if v is not None]
    fused, most = values["fused"], max(inputs, default=0.0)
    ratio = fused / most if fused is not None and most > 0 else None
    return {**values, "ratio": ratio, **total.mask_flicker.summary()}


def _classes_seen(total: DriveScores, bundle: Bundle) -> dict[str, float]:
    pixels = int(total.seen.sum())
    names = {label.id: label.name for label in bundle.manifest.classes}
    names[UNLABELLED] = names.get(UNLABELLED, "none")
    return {
        names.get(i, f"id {i}"): int(total.seen[i]) / pixels for i in range(256) if total.seen[i]
    }


def _table(
    columns: Sequence[str], tables: Sequence[DownsampledTable], numbers: Sequence[int]
) -> dict[str, Any]:
    every, rows = DownsampledTable.joined(tables, numbers)
    return {"columns": list(columns), "rows": rows[:MOST_ROWS], "every": every}


def _bag(results: Sequence[BagResult]) -> str | None:
    written = [result.bag for result in results if result.bag]
    if len(written) > 1:
        return Path(os.path.commonpath(written)).name
    return Path(written[0]).name if written else None


def _notes(results: Sequence[BagResult], settings: DriveSettings) -> list[str]:
    several = len(results) > 1
    return [
        f"{Path(result.path).name}: {shown}" if several else shown
        for result in results
        for shown in (_without_places(note, [result.path], settings) for note in result.notes)
    ]


def _verdict(
    report: Mapping[str, Any],
    requirements: Sequence[Requirement],
    results: Sequence[BagResult],
    max_skipped: int,
) -> dict[str, Any]:
    found: dict[str, Any] = dict(verdict(report, requirements))
    unfit = sum(result.status != "ok" for result in results)
    if unfit:
        passed = unfit <= max_skipped
        limit = f"<= {max_skipped}"
        check = {"name": SKIPPED, "limit": limit, "value": unfit, "passed": passed}
        found["checks"] = [*found["checks"], check]
        found["passed"] = passed if found["passed"] is None else found["passed"] and passed
    return found
