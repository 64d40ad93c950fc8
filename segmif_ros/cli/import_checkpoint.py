# SPDX-License-Identifier: Apache-2.0
"""`segmif import-checkpoint`: turn released SegMiF checkpoints into model bundles."""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmif_ros.cli.command_line import (
    FINE,
    Parser,
    as_size,
    next_step,
    require_landscape,
    shared,
)
from segmif_ros.cli.quantise import say_compiled
from segmif_ros.outputs import require_absent

if TYPE_CHECKING:
    from segmif_ros.bundle import LabelClass
    from segmif_ros.export.checkpoint import Imported

_USUAL = (480, 640)
LABELS_BY_COUNT = {9: "mfnet9", 15: "fmb15"}
"""The class lists that released checkpoints were trained on, by number of classes."""


def _import(args: argparse.Namespace) -> int:
    sizes = args.size or [_USUAL]
    for size in sizes:
        require_landscape(size, confirmed=args.portrait)
    for _, folder in _places(sizes, args.out):
        for place in (folder, _halved(folder)):
            if not args.force:
                require_absent(place)
    import torch

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    from segmif_ros.export.checkpoint import import_states, read_state
    from segmif_ros.network.segmif import Switches

    switches = Switches(
        visible_input=args.visible,
        guidance=args.guidance,
        min_max_stretch=args.min_max_stretch,
        eight_bit_hand_over=args.eight_bit_hand_over,
    )
    imported = import_states(read_state(args.fusion), read_state(args.segmentation), switches)
    classes = _classes(args.classes, imported.classes)
    provenance = {
        "weights": "imported from a released SegMiF checkpoint",
        "backbone": f"mit-{imported.backbone}",
        "fusion_sha256": _digest(args.fusion),
        "segmentation_sha256": _digest(args.segmentation),
        "exported": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "torch": str(torch.__version__),
    }
    for size, folder in _places(sizes, args.out):
        _write(imported, size, folder, args, classes, provenance)
    return FINE


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif import-checkpoint",
        "segmif import-checkpoint --fusion fusion.pth --segmentation seg.pth --out models/released",
        work=_import,
        expected=(ValueError,),
        description=__doc__,
    )
    made.add_argument("--fusion", type=Path, required=True, metavar="PTH", help="fusion checkpoint")
    made.add_argument(
        "--segmentation", type=Path, required=True, metavar="PTH", help="segmentation checkpoint"
    )
    shared(made, "--out", required=True, metavar="BUNDLE", help="bundle folder to write")
    shared(made, "--force")
    shared(
        made,
        "--size",
        action="append",
        help="width x height (default: 640x480); given more than once, each size gets OUT-WxH",
    )
    shared(made, "--portrait")
    shared(made, "--classes", help="class list: mfnet9, fmb15 or a .yaml file (default: by count)")
    made.add_argument("--name", metavar="NAME", help="model name (default: the folder's)")
    made.add_argument(
        "--licence", default="", metavar="TEXT", help="licence of weights and training data"
    )
    made.add_argument(
        "--visible",
        choices=("luma", "red"),
        default="luma",
        help="channel of the visible image for fusion: luma as trained, red as the test scripts",
    )
    made.add_argument(
        "--guidance",
        choices=("saliency", "supplied"),
        default="saliency",
        help="computed from the pair, or a third input of the bundle named 'guidance'",
    )
    made.add_argument(
        "--min-max-stretch",
        action="store_true",
        help="stretch each fused image to the full range, as the scripts do; flickers on video",
    )
    made.add_argument(
        "--eight-bit-hand-over",
        action="store_true",
        help="truncate the fused image to 8 bits before segmentation, as the scripts do",
    )
    return made


def _classes(labels: str | None, count: int) -> tuple[LabelClass, ...]:
    from segmif_ros.datasets.classes import load_classes

    if labels is None:
        if count not in LABELS_BY_COUNT:
            raise ValueError(
                f"the checkpoint has {count} classes and no known list has as many; give a class "
                "list with --classes FILE.yaml"
            )
        labels = LABELS_BY_COUNT[count]
        logging.getLogger(__name__).info("%d classes: class list %s", count, labels)
    classes = load_classes(labels)
    if len(classes) != count:
        hint = LABELS_BY_COUNT.get(count)
        advice = f"--classes {hint}" if hint else "a class list of your own"
        raise ValueError(
            f"class list {labels!r} has {len(classes)} classes, the checkpoint {count}; "
            f"give {advice}"
        )
    return classes


def _places(sizes: list[tuple[int, int]], out: Path) -> list[tuple[tuple[int, int], Path]]:
    """Which size goes where: one into `out` itself, several into folders named after them."""
    if len(sizes) == 1:
        return [(sizes[0], out)]
    return [(size, out.with_name(f"{out.name}-{as_size(size)}")) for size in dict.fromkeys(sizes)]


def _write(
    imported: Imported,
    size: tuple[int, int],
    folder: Path,
    args: argparse.Namespace,
    classes: tuple[LabelClass, ...],
    provenance: Mapping[str, Any],
) -> None:
    """Write the float32 bundle and, beside it, the one in mixed float16."""
    from dataclasses import replace

    from segmif_ros.export.bundle_writer import store_bundle
    from segmif_ros.export.export import write_bundle
    from segmif_ros.export.mixed_precision import to_mixed_float16

    bundle = write_bundle(
        imported.network,
        folder,
        name=args.name or folder.name,
        variant={"b3": "paper-b3"}.get(imported.backbone, imported.backbone),
        size=size,
        classes=classes,
        switches=imported.network.switches.to_manifest(),
        provenance=provenance,
        licence=args.licence,
    )
    half = to_mixed_float16(bundle.model_path.read_bytes())
    halved = store_bundle(
        _halved(folder),
        half,
        replace(
            bundle.manifest,
            name=f"{bundle.manifest.name}-fp16",
            sha256=hashlib.sha256(half).hexdigest(),
            precision="mixed-fp16",
        ),
    )
    for written in (bundle, halved):
        print(
            f"{written.path}: {written.manifest.precision}, "
            f"{written.model_path.stat().st_size / 1e6:.1f} MB, {written.manifest.sha256}"
        )
        say_compiled(written, written.precisions[0])
    next_step(f"segmif check-engine {bundle.path}")


def _halved(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-fp16")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
