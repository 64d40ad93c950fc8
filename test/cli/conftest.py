# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import pytest

from segmif_ros.cli import command_line


@pytest.fixture(autouse=True)
def no_compiler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide TensorRT for RTX, as where it is not installed: every file written would be compiled.

    A test that needs it uses the fixture `compiler`.
    """
    if "compiler" not in request.fixturenames:
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)


@pytest.fixture(autouse=True)
def no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the lines that a log file gets after 5 s: on a busy machine that is any command."""
    monkeypatch.setattr(command_line, "_LOG_S", 3600.0)


@pytest.fixture
def compiler() -> None:
    """Leave TensorRT for RTX where it is."""
