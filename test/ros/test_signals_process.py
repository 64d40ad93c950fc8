# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM while the runtime is busy and cannot be interrupted."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import faulty_engine_node
import numpy as np
import pytest
from faulty_engine_node import COMMAND_VARIABLE, LOADING_S, STUCK_S
from node_process import NodeProcess, Peer, shared_memory_of

pytestmark = pytest.mark.system

PROMPT_S = 2.0
RGB = np.zeros((480, 640, 3), np.uint8)
THERMAL = np.zeros((480, 640), np.uint8)


@pytest.fixture
def start(tmp_path, ros_domain, tiny_bundle, monkeypatch):
    """Start a node whose engine does what `command` says."""
    started: list[NodeProcess] = []

    def start(command: str, name: str) -> NodeProcess:
        (tmp_path / "command").write_text(command)
        monkeypatch.setenv(COMMAND_VARIABLE, str(tmp_path / "command"))
        parameters = {
            "model": tiny_bundle,
            "engine": "onnxruntime",
            "freeze_detection": False,
            "ros_args": ["-r", f"__node:={name}"],
        }
        program = [str(Path(faulty_engine_node.__file__))]
        started.append(NodeProcess(tmp_path / "node.log", ros_domain, parameters, program=program))
        return started[-1]

    yield start
    for process in started:
        process.end()


def ends_promptly(process: NodeProcess, number: int) -> None:
    mapped = shared_memory_of(process.pid)
    assert mapped, "DDS should be in use"
    code, seconds = process.stop(number)
    assert (code, "Traceback" in process.text()) == (0, False), process.text()
    assert seconds < PROMPT_S
    # Ports are shared by all processes of the machine; the segments, 16 MB each, are its own.
    segments = {path for path in mapped if re.fullmatch(r"fastrtps_[0-9a-f]{16}", path.name)}
    own = segments - shared_memory_of("self")
    assert own
    assert not {path for path in own if path.exists()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_a_model_loads(start, number):
    assert LOADING_S > 5 * PROMPT_S
    process = start("loading", f"loading{int(number)}")
    process.wait_for_text("loading model")
    ends_promptly(process, number)
    assert "the process ends while model" in process.text()


def test_while_the_engine_hangs_in_a_pair(start, ros_domain):
    assert STUCK_S > 2 * PROMPT_S
    process = start("", "hanging")
    process.wait_for_text("active: listening")
    with Peer(ros_domain, "hanging") as peer:
        peer.until_heard()
        peer.listen("mask")

        def sent() -> None:
            peer.publish_pair(RGB, THERMAL)
            peer.spin(0.05)

        def first() -> bool:
            sent()
            return bool(peer.images["mask"])

        peer.until(first, "a result")
        (process.log.parent / "command").write_text("stuck")
        published = len(peer.images["mask"])
        for _ in range(10):
            sent()
        assert len(peer.images["mask"]) <= published + 2
        ends_promptly(process, signal.SIGTERM)
    assert "busy with one pair" in process.text()
