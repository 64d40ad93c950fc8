# SPDX-License-Identifier: Apache-2.0
"""`segmif dataset check`: what a data set holds, what is wrong with it, whether its pairs fit."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from segmif_ros.cli.console import progress_bar, say
from segmif_ros.cli.extract import export, rig_arguments
from segmif_ros.datasets.alignment import OFF_PX, Alignment
from segmif_ros.datasets.bag import BagReading
from segmif_ros.datasets.check import DatasetReport, check_dataset
from segmif_ros.datasets.contact_sheet import draw_sheet
from segmif_ros.datasets.dataset import Dataset
from segmif_ros.datasets.opening import AUTO, KINDS, open_dataset
from segmif_ros.datasets.sample import DatasetError
from segmif_ros.outputs import write_whole
from segmif_ros.registration import RegistrationError, load_calibration

_RIG_PAIRS = 50
_SHOWN = 8


def main(argv: Sequence[str]) -> int:
    """Check and return the exit code: 0 sound, 1 not sound, 2 no data set or no such part of it."""
    args = _parser().parse_args(argv)
    if args.verb == "export":
        return export(args)
    try:
        dataset = _open(args)
    except (DatasetError, RegistrationError, OSError) as err:
        sys.stderr.write(f"segmif dataset check: {err}\n")
        return 2
    try:
        limit = args.limit
        if dataset.kind == "rig" and limit is None:
            limit = _RIG_PAIRS
        count = len(dataset) if limit is None else min(limit, len(dataset))
        with progress_bar(total=count, unit="pair", desc="reading") as bar:
            report = check_dataset(
                dataset, limit=limit, measured=args.alignment, progress=bar.update
            )
        say(json.dumps(report.to_json(), indent=1) if args.json else _text(report))
        if args.out is not None:
            _write_sheet(dataset, args.out, args.pairs)
    except (DatasetError, RegistrationError, OSError) as err:
        sys.stderr.write(f"segmif dataset check: {err}\n")
        return 1
    if args.out is not None and not args.json:
        say(f"contact sheet: {args.out}")
    return 0 if report.sound else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="segmif dataset", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    rig_arguments(verbs.add_parser("export", help="write scenes of the virtual rig as a folder"))
    check = verbs.add_parser(
        "check",
        help="read every pair and report",
        description="Reads every pair; exit code 1 if files have no counterpart, cannot be read "
        "or hold ids that the class list has not.",
    )
    check.add_argument("path", type=Path, help="folder or bag; the word rig for the virtual rig")
    check.add_argument(
        "--kind", default=AUTO, choices=(AUTO, *KINDS), help="layout; auto: told by the folders"
    )
    check.add_argument("--split", help="for example train; default: all of it")
    check.add_argument(
        "--labels", default="fmb15", metavar="LIST",
        help="class list of a plain folder's or a bag's labels: under config/labels, or a .yaml",
    )  # fmt: skip
    check.add_argument("--limit", type=_count, metavar="N", help="read N pairs, evenly spread")
    check.add_argument(
        "--alignment", type=_count, default=200, metavar="N",
        help="measure the alignment of N pairs (default 200)",
    )  # fmt: skip
    check.add_argument("--out", type=_picture, metavar="PNG", help="write a contact sheet")
    check.add_argument("--pairs", type=_count, default=6, help="pairs on the sheet (default 6)")
    check.add_argument("--json", action="store_true", help="print JSON instead of text")
    bag = check.add_argument_group("for a bag")
    bag.add_argument("--rgb-topic", help="default: told by names and encodings")
    bag.add_argument("--thermal-topic", help="default: told by names and encodings")
    bag.add_argument("--label-topic", help="mono8 ids; default: the topic that ends in label...")
    bag.add_argument("--calibration", type=Path, help="thermal to RGB geometry")
    return parser


def _count(text: str) -> int:
    """Parse a number above 0.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number above 0")
    return int(text)


def _picture(text: str) -> Path:
    """Parse the name of a picture to write.

    Raises:
        argparse.ArgumentTypeError: another suffix than that of a picture.
    """
    path = Path(text)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a name that ends in .png or .jpg")
    return path


def _open(args: argparse.Namespace) -> Dataset:
    bag = BagReading(
        args.rgb_topic,
        args.thermal_topic,
        args.label_topic,
        None if args.calibration is None else load_calibration(args.calibration),
    )
    return open_dataset(
        args.kind, args.path, args.split, annotated=args.labels, strict=False, bag=bag
    )


def _write_sheet(dataset: Dataset, out: Path, pairs: int) -> None:
    sheet = draw_sheet(dataset, pairs=pairs)
    _, data = cv2.imencode(out.suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, data.tobytes())


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
        return f"{found.measured} pairs measured, none has edges enough to tell"
    worst = ", ".join(f"{name} {px:.1f} px" for name, px in found.worst[:3])
    return (
        f"{found.told} of {found.measured} measured pairs tell: median {found.median_px:.1f} px "
        f"(thermal {found.right_px:+.1f} right, {found.down_px:+.1f} down), {found.off_share:.0%} "
        f"off by more than {OFF_PX:g} px" + (f"; worst {worst}" if worst else "")
    )
