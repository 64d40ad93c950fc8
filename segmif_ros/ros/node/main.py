# SPDX-License-Identifier: Apache-2.0
"""The process `segmif_node`: its command line, its executor, its exit codes."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from threading import Event

import rclpy
from rclpy.executors import SingleThreadedExecutor

from segmif_ros.error_codes import code_of
from segmif_ros.interrupts import ignore, stopping
from segmif_ros.ros import session
from segmif_ros.ros.node.node import SegmifNode
from segmif_ros.ros.session import EXIT_BROKEN, EXIT_CONFIGURATION, EXIT_USAGE, RosError

_POLL_S = 0.2
_MOST_FAILURES = 100
"""Failures of the executor in a row, without one success: it will not recover."""


def _command_line(args: Sequence[str] | None) -> list[str]:
    """Return the full command line; `--help` and arguments outside --ros-args end the process."""
    command = [sys.argv[0], *(sys.argv[1:] if args is None else args)]
    parser = argparse.ArgumentParser(
        prog="segmif_node",
        description="Lifecycle node: thermal and RGB images in, fused image and class mask out.",
        epilog="ROS arguments follow --ros-args, for example: --ros-args -p model:=segmif-nano "
        "-r '~/input/rgb:=/rgb/image_raw' -r '~/input/thermal:=/thermal/image_raw'",
    )
    parser.parse_args(session.own_arguments(command))
    return command


def main(
    args: Sequence[str] | None = None, *, watch: Callable[[SegmifNode], None] | None = None
) -> int:
    """Run the node until SIGINT, SIGTERM or SIGHUP; return the exit code.

    That is 0 after a signal, 1 when it cannot be configured and 2 for wrong arguments, which
    a restart would not correct, and 3 when it broke while it ran.

    Args:
        args: command line after the program name, default `sys.argv`.
        watch: called after each round of the executor, on its thread; a benchmark reads the
            node's own figures there.
    """
    stop = Event()
    with stopping(stop):
        try:
            session.join(_command_line(args))
        except RosError as err:
            sys.stderr.write(f"segmif_node: {code_of(err)} {err}\n")
            return EXIT_USAGE
        return _run(stop, watch)


def _run(stop: Event, watch: Callable[[SegmifNode], None] | None) -> int:
    code = EXIT_BROKEN
    node = SegmifNode(stop)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.get_parameter("autostart").value and not node.autostart():
            code = EXIT_CONFIGURATION
            return code
        failures = 0
        while not stop.is_set():
            try:
                executor.spin_once(timeout_sec=_POLL_S)
                failures = 0
            except Exception as err:
                # Of callbacks that rclpy registers itself: a /clock message with a negative time.
                failures += 1
                node.note_callback_failure(err)
                if failures == _MOST_FAILURES:
                    node.get_logger().fatal("nothing can be executed: ending the process")
                    return code
            if node.is_deaf:
                # The process cannot recover from it; a restart can.
                node.get_logger().fatal("no image can be taken: ending the process")
                return code
            if watch is not None:
                watch(node)
        code = 0
        return code
    finally:
        ignore()
        node.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
        if node.left_behind:
            # The DDS participant ends with its last user and removes its shared memory.
            del node, executor
            gc.collect()
            rclpy.get_default_context().destroy()
            # A thread inside a runtime would delay the interpreter's end, or crash in it.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0 if stop.is_set() else code)


if __name__ == "__main__":
    sys.exit(main())
