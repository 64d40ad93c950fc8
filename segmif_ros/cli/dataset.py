# SPDX-License-Identifier: Apache-2.0
"""`segmif dataset check`: what a data set holds, what is wrong with it, whether its pairs fit."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from segmif_ros.cli.command_line import (
    FINE,
    VERDICT,
    Parser,
    next_step,
    progress_bar,
    refuse_existing,
    say,
    shared,
    whole,
)
from segmif_ros.cli.extract import add_export
from segmif_ros.datasets.bag import BagReading
from segmif_ros.datasets.check import OFF_PX, Alignment, DatasetReport, check_dataset, draw_sheet
from segmif_ros.datasets.dataset import Dataset
from segmif_ros.datasets.opening import AUTO, KINDS, open_dataset
from segmif_ros.images.pictures import encode_picture
from segmif_ros.outputs import write_whole
from segmif_ros.registration import load_calibration

_RIG_PAIRS = 50
_SHOWN = 8


def _check(args: argparse.Namespace) -> int:
    refuse_existing(args, "write_sheet")
    dataset = _open(args)
    limit = args.limit
    if dataset.kind == "rig" and limit is None:
        limit = _RIG_PAIRS
    count = len(dataset) if limit is None else min(limit, len(dataset))
    with progress_bar(total=count, unit="pair", desc="reading") as bar:
        report = check_dataset(dataset, limit=limit, measured=args.alignment, progress=bar.update)
    say(json.dumps(report.to_json(), indent=1) if args.json else _text(report))
    if args.write_sheet is not None:
        _write_sheet(dataset, args.write_sheet, args.sheet_pairs)
        if not args.json:
            say(f"contact sheet: {args.write_sheet}")
    if report.sound and not args.json and args.path is not None:
        next_step(f"segmif evaluate --dataset {args.path} --model segmif-nano --out scores")
    return FINE if report.sound else VERDICT


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser("segmif dataset", "segmif dataset check DATA/fmb", description=__doc__)
    verbs = made.add_subparsers(required=True, metavar="VERB")
    check = verbs.add_parser(
        "check",
        work=_check,
        help="read every pair and report",
        description="Reads every pair; exit code 3 if files have no counterpart, cannot be read "
        "or hold ids that the class list has not.",
        example="segmif dataset check DATA/fmb --split train --write-sheet fmb.png",
    )
    check.add_argument(
        "path", type=Path, metavar="PATH", help="folder or bag; the word rig for the virtual rig"
    )
    check.add_argument(
        "--kind", default=AUTO, choices=(AUTO, *KINDS), help="layout; auto: by the folders"
    )
    check.add_argument("--split", metavar="NAME", help="for example train (default: all of it)")
    shared(
        check, "--classes", default="fmb15",
        help="class list of a plain folder's or a bag's labels: under config/labels, or a .yaml",
    )  # fmt: skip
    shared(check, "--limit", help="read N pairs, evenly spread (default: all)")
    check.add_argument(
        "--alignment", type=whole(1), default=200, metavar="N",
        help="measure the alignment of N pairs",
    )  # fmt: skip
    check.add_argument(
        "--write-sheet", type=_picture, metavar="PNG", help="write a contact sheet as well"
    )
    shared(check, "--force")
    check.add_argument(
        "--sheet-pairs", type=whole(1), default=6, metavar="N", help="pairs on the sheet"
    )
    shared(check, "--json")
    bag = check.add_argument_group("for a bag")
    shared(bag, "--rgb-topic", "--thermal-topic")
    bag.add_argument(
        "--labels", metavar="TOPIC", help="mono8 ids (default: the topic that ends in label...)"
    )
    shared(bag, "--calibration")
    add_export(verbs)
    return made


def _picture(text: str) -> Path:
    """Parse the name of a picture to write."""
    path = Path(text)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a name that ends in .png or .jpg")
    return path


def _open(args: argparse.Namespace) -> Dataset:
    bag = BagReading(
        args.rgb_topic,
        args.thermal_topic,
        args.labels,
        None if args.calibration is None else load_calibration(args.calibration),
    )
    return open_dataset(
        args.kind, args.path, args.split, annotated=args.classes, strict=False, bag=bag
    )


def _write_sheet(dataset: Dataset, out: Path, pairs: int) -> None:
    sheet = draw_sheet(dataset, pairs=pairs)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, encode_picture(sheet, out.suffix))


def _text(report: DatasetReport) -> str:
    part = f", {report.split}" if report.split else ""
    read = "" if report.read == report.pairs else f", {report.read} read"
    lines = [f"{report.root}: {report.kind}{part}, {report.pairs} pairs{read}"]
    rows = {
        "splits": _tally(report.splits),
        "sizes": _tally(report.sizes),
        "time": _tally(report.when) if set(report.when) != {"unknown"} else "",
        "labels": f"{report.labels}, {report.labelled} pairs" if report.labelled else "none",
        "alignment": _alignment(report.alignment),
    }
    lines += [f"  {name:<11}{text}" for name, text in rows.items() if text]
    if any(each.pairs for each in report.classes):
        lines += ["", *_histogram(report)]
    for name, items in (
        ("unpaired", report.unpaired),
        ("unreadable", report.unreadable),
        ("unknown ids", [_unknown(*item) for item in report.unknown.items()]),
        ("blank", report.blank),
        ("repeated", report.repeated),
        ("notes", report.notes),
    ):
        if items:
            more = [f"... and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
            lines += ["", f"{name}: {len(items)}", *(f"  {item}" for item in items[:_SHOWN])]
            lines += [f"  {text}" for text in more]
    verdict = "sound" if report.sound else "NOT sound: see above"
    return "\n".join([*lines, "", verdict])


def _tally(counts: object) -> str:
    assert isinstance(counts, dict)
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _unknown(label: int, names: Sequence[str]) -> str:
    return f"{label} in {len(names)} pairs, first {names[0]}"


def _histogram(report: DatasetReport) -> list[str]:
    width = max(len(each.name) for each in report.classes)
    lines = [f"  {'id':>3}  {'class':<{width}}  {'pixels':>8}  pairs"]
    for each in report.classes:
        row = f"  {each.id:>3}  {each.name:<{width}}  {each.share:>8.3%}  {each.pairs:>5}  "
        lines.append((row + "#" * round(40 * each.share)).rstrip())
    rest = {"no class but no object (254)": report.background, "ignored (255)": report.ignored}
    lines += [f"  {share:.1%} of all pixels: {name}" for name, share in rest.items() if share]
    return lines


def _alignment(found: Alignment) -> str:
    if not found.measured:
        return ""
    if found.median_px is None or found.off_share is None:
        return f"{found.measured} pairs measured, none has enough edges"
    worst = ", ".join(f"{name} {px:.1f} px" for name, px in found.worst[:3])
    return (
        f"{found.conclusive} of {found.measured} measured pairs are conclusive: median "
        f"{found.median_px:.1f} px (thermal {found.right_px:+.1f} right, "
        f"{found.down_px:+.1f} down), {found.off_share:.0%} off by more than {OFF_PX:g} px"
        + (f"; worst {worst}" if worst else "")
    )
