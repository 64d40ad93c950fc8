# SPDX-License-Identifier: Apache-2.0
"""`segmif doctor`: what stands between this machine and fused images, line by line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from segmif_ros.cli.command_line import FINE, VERDICT, Parser, note, number, shared
from segmif_ros.doctor import camera_checks, machine_checks, ros_checks
from segmif_ros.doctor.check_result import CheckResult, Verdict, as_json, as_text

DESCRIPTION = (
    "Checks ROS, the transport, both cameras' topics, engines, GPU, shared memory and Python "
    "packages. Each line is OK, WARN or FAIL, with the remedy below it."
)


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "segmif doctor",
        "segmif doctor --rgb-topic /front/image_raw --thermal-topic /flir/image_raw",
        work=_examine,
        description=DESCRIPTION,
        epilog="\nexit code 3: a line is FAIL",
    )
    shared(made, "--rgb-topic", "--thermal-topic")
    shared(
        made,
        "--seconds",
        type=number(0.0, 60.0),
        default=3.0,
        help="how long to listen to the cameras",
    )
    shared(made, "--json")
    return made


def _cameras(args: argparse.Namespace) -> list[CheckResult]:
    named = {"rgb": args.rgb_topic, "thermal": args.thermal_topic}
    chosen = {camera: topic for camera, topic in named.items() if topic}
    # With one topic named the other is still unknown, so all are subscribed to.
    topics = list(chosen.values()) if len(chosen) == len(named) else []
    return camera_checks.graph_checks(camera_checks.look_at_graph(topics, args.seconds), chosen)


def examine(args: argparse.Namespace) -> list[CheckResult]:
    """Run every check, side by side, and return the results in reading order."""
    checks: list[Callable[[], CheckResult]] = [
        machine_checks.python_check,
        machine_checks.numpy_check,
        machine_checks.engines_check,
        machine_checks.gpu_check,
        machine_checks.shared_memory_check,
    ]
    with ThreadPoolExecutor() as pool:
        machine = [pool.submit(check) for check in checks]
        ros = ros_checks.ros_check()
        rest = [ros]
        if ros.verdict is Verdict.FAIL:
            rest.append(CheckResult("cameras", Verdict.WARN, "not checked: that needs ROS 2"))
        else:
            rest += [ros_checks.transport_check(), *_cameras(args)]
        return [*rest, *(future.result() for future in machine)]


def _examine(args: argparse.Namespace) -> int:
    note(f"checking this machine and, for {args.seconds:g} s, the cameras")
    results = examine(args)
    print(as_json(results) if args.json else as_text(results))
    return VERDICT if any(result.verdict is Verdict.FAIL for result in results) else FINE
