# SPDX-License-Identifier: Apache-2.0
"""Write what users and their programs rely on to test/golden: one line each, no prose.

    python scripts/golden.py            # write all
    python scripts/golden.py topics     # print one

A change there is a change of an interface: it goes with a line in CHANGELOG.rst.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

GOLDEN = Path(__file__).resolve().parents[1] / "test" / "golden"


def topics() -> Iterator[str]:
    """Topics of an active node that labels points, with types and QoS."""
    import rclpy

    from segmif_ros.ros.node.node import SegmifNode
    from segmif_ros.ros.node.point_input import PointInput

    values = {"model": "segmif-nano", "engine": "null", "alignment_check_s": 0.0}
    rclpy.init(args=["--ros-args", *(w for k, v in values.items() for w in ("-p", f"{k}:={v}"))])
    node = SegmifNode()
    node.trigger_configure()
    node.trigger_activate()
    PointInput(node, SimpleNamespace(take=print)).listen(True)
    # /rosout and /parameter_events are rclpy's; vision_msgs is not installed everywhere.
    own = f"{node.get_fully_qualified_name()}/"
    for kind, ends in (("publishes", node.publishers), ("subscribes", node.subscriptions)):
        for end in sorted(ends, key=lambda end: str(end.topic_name)):
            ours = end.topic_name.startswith((own, "/diagnostics", "/tf"))
            if ours and not _type(end.msg_type).startswith("vision_msgs"):
                qos = end.qos_profile
                words = (qos.reliability.name, qos.durability.name, f"depth {qos.depth}")
                yield f"{kind} {end.topic_name} {_type(end.msg_type)} {' '.join(words).lower()}"
    node.close()
    node.destroy_node()
    rclpy.shutdown()


def _type(message: Any) -> str:
    return f"{message.__module__.split('.')[0]}/{message.__name__}"


def parameters() -> Iterator[str]:
    """Parameters of the node: type, default, unit, limits, choices, when they may change."""
    from segmif_ros.parameters import PARAMETERS

    for spec in PARAMETERS:
        limits = "" if spec.limits is None else f" {spec.limits[0]:g}..{spec.limits[1]:g}"
        yield (
            f"{spec.name}: {spec.type_name} = {spec.default!r} {spec.unit}{limits} "
            f"{'|'.join(spec.choices)} {spec.change.value}"
        )


def cli() -> Iterator[str]:
    """Verbs and their options as argparse knows them, without the text of the help."""
    from segmif_ros.cli.main import VERBS, parser_of

    for verb in VERBS:
        yield from _options(f"segmif {verb}", parser_of(verb))


def _options(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, made in action.choices.items():
                yield from _options(f"{name} {inner}", made)
        elif action.help != argparse.SUPPRESS and action.dest != "help":
            choices = "" if action.choices is None else f" {{{','.join(map(str, action.choices))}}}"
            default = "" if action.default in (None, argparse.SUPPRESS) else f" = {action.default}"
            takes = {None: " VALUE", 0: ""}.get(action.nargs, f" {action.nargs}")
            flags = ", ".join(action.option_strings) or action.dest
            yield f"{name} {flags}{takes}{choices}{default}{' required' * action.required}"


def report() -> Iterator[str]:
    """Fields of report.json."""
    from segmif_ros.report.schema import VERSION, Report

    yield f"version {VERSION}"
    yield from _fields(Report)


def manifest() -> Iterator[str]:
    """Fields of a bundle's manifest.json."""
    from segmif_ros.bundle import FORMAT, Manifest

    yield f"format {FORMAT}"
    yield from _fields(Manifest)


def _fields(kind: type) -> Iterator[str]:
    import msgspec

    for name, shape in sorted(msgspec.json.schema(kind)["$defs"].items()):
        required = shape.get("required", ())
        for field, inner in sorted(shape.get("properties", {}).items()):
            yield f"{name}.{field}: {_shown(inner)}{'' if field in required else ' optional'}"


def _shown(shape: Any) -> str:
    if not isinstance(shape, Mapping):
        return str(shape)
    if "$ref" in shape:
        return str(shape["$ref"].rpartition("/")[2])
    if "anyOf" in shape:
        return "|".join(map(_shown, shape["anyOf"]))
    inside = {key: shape[key] for key in ("items", "prefixItems", "additionalProperties")
              if isinstance(shape.get(key), Mapping | list) and shape[key]}  # fmt: skip
    words = [str(shape.get("type", "any")), *(f"{k} {shape[k]}" for k in sorted(shape)
             if k in ("minimum", "maximum", "enum", "const", "multipleOf"))]  # fmt: skip
    parts = (p for i in inside.values() for p in (i if isinstance(i, list) else [i]))
    held = ", ".join(map(_shown, parts))
    return " ".join(words) + (f" of ({held})" if held else "")


KINDS: Mapping[str, Callable[[], Iterator[str]]] = {
    each.__name__: each for each in (topics, parameters, cli, report, manifest)
}


def main() -> int:
    """Write all of them, or print one."""
    if sys.argv[1:]:
        print("\n".join(map(str.rstrip, KINDS[sys.argv[1]]())))
        return 0
    GOLDEN.mkdir(exist_ok=True)
    for name, lines in KINDS.items():
        (GOLDEN / f"{name}.txt").write_text("\n".join(map(str.rstrip, lines())) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
