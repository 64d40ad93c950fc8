# SPDX-License-Identifier: Apache-2.0
"""Real node processes on a private DDS domain, and a peer that plays cameras and listener."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from segmif_ros.ros.transport import prepare_process

if TYPE_CHECKING:
    from node_process import NodeProcess, Peer

# Fast DDS reads these once per process, so they are set before any test runs.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
prepare_process()

Start = Callable[..., "NodeProcess"]


@pytest.fixture(scope="session")
def ros_domain() -> int:
    """A domain of our own: other runs on this machine have other process ids."""
    return 1 + os.getpid() % 100


@pytest.fixture(scope="module")
def start_node(tmp_path_factory: pytest.TempPathFactory, ros_domain: int) -> Iterator[Start]:
    """Start `segmif_node` processes; what still runs at the end is ended."""
    pytest.importorskip("rclpy")
    from node_process import NodeProcess

    folder = tmp_path_factory.mktemp("nodes")
    started: list[NodeProcess] = []

    def start(**parameters: object) -> NodeProcess:
        log: Path = folder / f"node{len(started)}.log"
        started.append(NodeProcess(log, ros_domain, parameters))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture(scope="module")
def peer(ros_domain: int) -> Iterator[Peer]:
    """The other side of the wire, in the test process."""
    pytest.importorskip("rclpy")
    from node_process import Peer

    with Peer(ros_domain) as other:
        yield other
