# SPDX-License-Identifier: Apache-2.0
"""The operator of a warm start: configures a node and waits for its output."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from benchmarks.dds.consumer import ConsumerNode
from benchmarks.dds.protocol import READY, node_name, output_topic
from benchmarks.dds.signals import Cues, announce, boot_id, write_result
from segmif_ros.ros.transport import prepare_process

PATIENCE_S = 120.0


class StarterNode(ConsumerNode):
    """Drives one node and receives its outputs."""

    def __init__(self, topics: Sequence[str]) -> None:
        super().__init__(topics)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._service = self.create_client(ChangeState, f"{node_name(0)}/change_state")

    def start(self, cues: Cues) -> dict[str, float]:
        """Configure and activate; return the times from the request of `configure` on.

        Raises:
            RuntimeError: the node refused, or nothing came.
        """
        self._until(self._service.service_is_ready, "the node", cues)
        announce(READY)
        began_s = time.monotonic()
        since: dict[str, float] = {}
        for label in ("configure", "activate"):
            request = ChangeState.Request()
            request.transition.label = label
            answer = self._service.call_async(request)
            self._until(answer.done, f"the answer to {label}", cues)
            if not answer.result().success:
                raise RuntimeError(f"the node refused to {label}")
            since[label] = 1e3 * (time.monotonic() - began_s)
        self._until(lambda: all(self.arrivals.values()), "the first outputs", cues)
        since["first_output"] = 1e3 * (time.monotonic() - began_s)
        return since

    def _until(self, condition: Callable[[], Any], what: str, cues: Cues) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline or cues.stop.is_set():
                raise RuntimeError(f"waited for {what} in vain")
            self._executor.spin_once(timeout_sec=0.05)


def main(argv: Sequence[str] | None = None) -> int:
    """Start the node once, write the times, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outputs", required=True, help="names with commas between")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    args = parser.parse_args(argv)
    cues = Cues()
    cues.end_on_interrupt()
    prepare_process()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = StarterNode([output_topic(0, name) for name in args.outputs.split(",")])
    try:
        write_result(args.out, {"since_configure_ms": node.start(cues), "boot_id": boot_id()})
        return 0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
