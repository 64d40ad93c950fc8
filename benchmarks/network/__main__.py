# SPDX-License-Identifier: Apache-2.0
"""Time, memory and agreement of the published cascade in every runtime."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segmif_ros.cli.command_line import size as image_size

if TYPE_CHECKING:
    from benchmarks.network.measure import Measurement, Pair, Plan
    from segmif_ros.network.segmif import SegMiF

PROCESSOR_FLAGS = {"openvino-bf16": "avx512_bf16", "openvino-f16": "avx512_fp16"}
"""What /proc/cpuinfo says where a reduced precision is not emulated."""


def main(argv: Sequence[str]) -> int:
    """Measure, print a table, and return the exit code."""
    args = _parser().parse_args(argv)
    try:
        import torch
    except ImportError:
        sys.stderr.write("bench network needs PyTorch: pip install 'segmif_ros[train]'\n")
        return 1
    from benchmarks.network.measure import RUNTIMES, BenchmarkError, Plan, measure
    from benchmarks.network.prepare import prepare
    from segmif_ros.export.checkpoint import CheckpointError

    torch.set_num_threads(args.threads)
    try:
        pairs = _pairs(args.pairs, args.size, args.count)
        network = _network(args, pairs[0])
        classes = network.head.predict.out_channels
        plan = Plan(args.variant, classes, args.size, args.threads, args.repeats)
        wanted = args.runtime or [name for name in RUNTIMES if _is_here(name)]
        busy = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            prepare(folder, plan, pairs, network)
            found = measure(folder, wanted)
    except (OSError, ValueError, BenchmarkError, CheckpointError) as err:
        sys.stderr.write(f"python -m benchmarks.network: {str(err).splitlines()[0]}\n")
        return 1
    print(_headline(plan, len(pairs), busy))
    print(table(found))
    if args.json is not None:
        args.json.write_text(
            json.dumps({"plan": asdict(plan), "runtimes": [asdict(m) for m in found]}, indent=2)
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    from benchmarks.network.measure import RUNTIMES

    parser = argparse.ArgumentParser(prog="python -m benchmarks.network", description=__doc__)
    parser.add_argument("--variant", choices=("paper-b3", "b1"), default="paper-b3")
    parser.add_argument("--size", type=image_size(64), default=(480, 640), metavar="WxH")
    parser.add_argument("--threads", type=_positive, default=2, help="CPU threads of every runtime")
    parser.add_argument("--repeats", type=_positive, default=15, help="most timed runs of each")
    parser.add_argument("--classes", type=_positive, default=9, help="classes of random weights")
    parser.add_argument("--seed", type=int, default=0, help="seed of random weights")
    parser.add_argument("--fusion", type=Path, help="released fusion checkpoint")
    parser.add_argument("--segmentation", type=Path, help="released segmentation checkpoint")
    parser.add_argument(
        "--pairs", type=Path, help="folder with visible/ and infrared/ of equal names; else random"
    )
    parser.add_argument("--count", type=_positive, default=3, help="pairs to compare pictures on")
    parser.add_argument(
        "--runtime", action="append", choices=tuple(RUNTIMES), help="only these (repeatable)"
    )
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of at least 1")
    return int(text)


def _is_here(runtime: str) -> bool:
    """Whether a runtime is installed and the processor computes in its precision."""
    if runtime == "onnxruntime":
        return find_spec("onnxruntime") is not None
    if not runtime.startswith("openvino"):
        return True
    if runtime in PROCESSOR_FLAGS:
        flags = Path("/proc/cpuinfo")
        if not flags.is_file() or PROCESSOR_FLAGS[runtime] not in flags.read_text():
            return False
    return find_spec("openvino") is not None


def _network(args: argparse.Namespace, pair: Pair) -> SegMiF:
    from benchmarks.network.prepare import fill
    from segmif_ros.export.checkpoint import import_states, read_state
    from segmif_ros.network.segmif import SegMiF
    from segmif_ros.network.variants import build

    if (args.fusion is None) != (args.segmentation is None):
        raise ValueError("--fusion and --segmentation belong together; give both or neither")
    if args.fusion is not None:
        imported = import_states(read_state(args.fusion), read_state(args.segmentation))
        if imported.backbone != args.variant.removeprefix("paper-"):
            raise ValueError(
                f"the checkpoint has MiT-{imported.backbone.upper()}, --variant is "
                f"{args.variant!r}; give the variant of the checkpoint"
            )
        return imported.network
    network = build(args.variant, args.classes).eval()
    assert isinstance(network, SegMiF)
    fill(network, args.seed, pair)
    return network


def _pairs(folder: Path | None, size: tuple[int, int], count: int) -> list[Pair]:
    """Real pairs, spread over the folder, or smooth random ones."""
    if folder is None:
        from segmif_ros.export.export import smooth_image

        rng = np.random.default_rng(0)
        return [
            (smooth_image(rng, size, 3), np.ascontiguousarray(smooth_image(rng, size, 1)[..., 0]))
            for _ in range(count)
        ]
    import cv2

    from segmif_ros.images.pictures import find_pictures, read_grey, read_rgb

    infrared, visible = find_pictures(folder / "infrared"), find_pictures(folder / "visible")
    names = sorted(visible.keys() & infrared.keys())
    if not names:
        raise ValueError(
            f"{folder} has no equal names in visible/ and infrared/; give such a folder"
        )
    chosen = [names[i * len(names) // count] for i in range(min(count, len(names)))]
    pairs = []
    for name in chosen:
        pair = read_rgb(visible[name]), read_grey(infrared[name])
        rgb, thermal = (np.asarray(cv2.resize(image, size[::-1]), np.uint8) for image in pair)
        pairs.append((rgb, thermal))
    return pairs


def _headline(plan: Plan, pairs: int, busy: float) -> str:
    height, width = plan.size
    return (
        f"{plan.variant}, {height}x{width}, {plan.threads} threads, {pairs} pairs, "
        f"{platform.machine()}, Python {platform.python_version()}, load before {busy:.1f}"
    )


def table(found: Sequence[Measurement]) -> str:
    """Return the figures as a Markdown table; factors are over plain PyTorch."""
    from benchmarks.network.measure import RUNTIMES

    lines = [
        "| runtime | p50 ms | CPU ms | runs | faster | peak MB | luma off by | luma PSNR dB | "
        "same class |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for m in found:
        lines.append(
            f"| {RUNTIMES[m.runtime]} | {m.p50_ms:.0f} | {m.cpu_ms:.0f} | {m.runs} | "
            f"{found[0].p50_ms / m.p50_ms:.1f}x | {m.peak_mb:.0f} | {m.luma_difference:.1e} | "
            f"{m.psnr_db:.1f} | {m.mask_agreement:.3%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
