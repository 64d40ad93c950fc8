# SPDX-License-Identifier: Apache-2.0
"""`segmif <verb>`: finds the verb and runs it; imports nothing that a verb does not need.

A verb is a module of its name with `parser()`, whose parser knows the work; `VERBS` lists them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from segmif_ros import __version__
from segmif_ros.error_codes import PACKAGE, USAGE
from segmif_ros.interrupts import catch_early
from segmif_ros.share import install_command

if TYPE_CHECKING:
    from segmif_ros.cli.command_line import Parser

VERBS: Mapping[str, str] = {
    "demo": "run the whole chain over ROS 2 and write pictures and figures",
    "bag": "make, play and inspect bags of camera pairs",
    "calibrate": "find where thermal pixels lie in the RGB image, from points or pictures",
    "sync-check": "measure rates, drops and clock offset of two cameras, and what to set",
    "evaluate": "turn a drive (bags) or a data set into a report with a verdict",
    "dataset": "check a data set: what is in it, what is wrong with it",
    "train": "train a network on the data sets of a recipe",
    "export": "turn trained weights into a model bundle",
    "quantise": "put the same weights in fp16 or int8 beside a bundle's model",
    "fit-confidence": "fit one temperature a class, so that a bundle's confidences are true",
    "check-engine": "compare an engine with the bundle's float32 model, as before its use "
    "on a robot",
    "import-checkpoint": "turn released SegMiF checkpoints into model bundles",
    "compare": "put two evaluation reports side by side",
    "view": "show a bag, a folder, a report or a running node",
    "status": "show mode, rates and diagnostics of a running node",
    "set": "change parameters of a running node",
    "build-engine": "build, check and keep the TensorRT engine of a model bundle",
    "info": "show what a model bundle is and what a frame costs",
    "doctor": "look for what keeps images from coming, with remedies",
    "bench": "time a bundle on every engine of this machine",
    "completion": "print the completion script of bash or zsh",
}
_MOVED = {("bench", "node"): "benchmarks.dds", ("bench", "network"): "benchmarks.network"}

EXTRAS: Mapping[str, tuple[str, str]] = {
    "rclpy": ("ros", "source a ROS 2 installation, or install its wheels (x86-64): "),
    "torch": ("train", "it is needed for training and export only: "),
    "onnx": ("cpu", ""),
    "onnxruntime": ("cpu", ""),
    "openvino": ("cpu", ""),
    "tensorboard": ("train", ""),
    "distributed": ("cluster", ""),
}
"""Packages that only some verbs need: the extra with each, and a remark."""

_CODES = """\
exit codes: 0 fine; 1 could not (a file is missing or damaged, no engine opens, the disk is full);
2 wrong use (the command line); 3 the verdict is bad (a threshold missed, damage found, a check
failed); 130 interrupted."""


def parser_of(verb: str) -> Parser:
    """Import the module of a verb and return its parser."""
    made: Parser = import_module(f"segmif_ros.cli.{verb.replace('-', '_')}").parser()
    return made


def usage() -> str:
    """Return the text of `segmif --help`."""
    width = max(len(verb) for verb in VERBS)
    lines = [f"  {verb:<{width}}  {text}" for verb, text in VERBS.items()]
    tail = ["", "segmif VERB --help lists options; segmif --version", "", _CODES]
    return "\n".join(["usage: segmif VERB ...", "", "verbs:", *lines, *tail])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # `segmif info X | head` has seen enough; what Python would flush at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return code


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["--version"]:
        print(f"segmif {__version__}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    verb, *rest = arguments
    if verb not in VERBS:
        near = get_close_matches(verb, VERBS, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        sys.stderr.write(f"segmif: {USAGE} no verb {verb!r}{guess}; segmif --help lists them\n")
        return 2
    if (moved := _MOVED.get((verb, rest[0] if rest else ""))) is not None:
        sys.stderr.write(
            f"segmif bench {rest[0]} is not in the package; in a checkout run python -m {moved}\n"
        )
        return 2
    # Our own messages name the file; the video library's would come in front of them.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    if tuple(arguments[:2]) in (("bag", "play"), ("bag", "record")):
        catch_early(KeyboardInterrupt)  # until they watch for signals; SIGTERM ends them well too
    try:
        from segmif_ros.cli.command_line import run

        return run(parser_of(verb), rest)
    except ModuleNotFoundError as err:
        name = (err.name or "").partition(".")[0]
        if name not in EXTRAS and name != __package__.partition(".")[0] and not find_spec("rclpy"):
            name = "rclpy"  # its message packages are looked for before it
        if name not in EXTRAS:
            raise
        extra, before = EXTRAS[name]
        sys.stderr.write(
            f"segmif {verb}: {PACKAGE} no Python package {name!r}; "
            f"{before}{install_command(extra)}\n"
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
