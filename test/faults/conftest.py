# SPDX-License-Identifier: Apache-2.0
"""Domain and model of the fault matrix, and the file that its results go to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segmif_ros.ros.transport import prepare_process

# Fast DDS reads these once per process, so they are set before any test runs.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
prepare_process()

RESULTS_VARIABLE = "SEGMIF_FAULT_RESULTS"
"""Path of a JSON file that the results are written to."""


@pytest.fixture(scope="session")
def fault_domain() -> int:
    """A domain of our own, not that of test/ros: other runs have other process ids."""
    return int(os.environ.get("ROS_DOMAIN_ID", "0")) or 1 + (os.getpid() + 50) % 100


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model in the size of the bench's pictures: it hands both images on unchanged."""
    pytest.importorskip("rclpy")
    pytest.importorskip("onnx")
    from fault_bench import SIZE
    from tiny_model import write_tiny_bundle

    return write_tiny_bundle(tmp_path_factory.mktemp("small"), SIZE)


@pytest.fixture(scope="session")
def results() -> Iterator[list[dict[str, Any]]]:
    """Rows as they are measured; written to a file at the end if one is named."""
    rows: list[dict[str, Any]] = []
    yield rows
    from fault_rows import ROWS

    path = os.environ.get(RESULTS_VARIABLE)
    if path:
        order = [row.name for row in ROWS]
        rows.sort(key=lambda row: order.index(row["name"]))
        Path(path).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
