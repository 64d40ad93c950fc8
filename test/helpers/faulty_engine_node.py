# SPDX-License-Identifier: Apache-2.0
"""The node with an engine that fails on command; run as a program.

The environment variable `SEGMIF_TEST_ENGINE` names a file; what is in it happens at every
inference: "stuck" (it takes `STUCK_S`, then the file is emptied), "fail", "surprise", "sometimes".
With "loading" the model takes `LOADING_S` to load.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segmif_ros.engines import open_engine
from segmif_ros.engines.base import Engine, EngineError, Inference
from segmif_ros.frames import Image8
from segmif_ros.ros.node import main, worker

COMMAND_VARIABLE = "SEGMIF_TEST_ENGINE"
STUCK_S = 5.0
LOADING_S = 20.0
FAILURE = "the device is out of memory"


class FaultyEngine:
    """A real engine that does what a file says."""

    def __init__(self, engine: Engine, command: Path) -> None:
        self._engine, self._command, self._runs = engine, command, 0

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def size(self) -> tuple[int, int]:
        return self._engine.size

    def infer(self, rgb: Image8, thermal: Image8) -> Inference:
        self._runs += 1
        command = self._command.read_text()
        if command == "stuck":
            time.sleep(STUCK_S)
            self._command.write_text("")
        elif command == "surprise":
            raise ZeroDivisionError(FAILURE)
        elif command == "fail" or (command == "sometimes" and self._runs % 3 == 0):
            raise EngineError(FAILURE)
        return self._engine.infer(rgb, thermal)

    def describe(self) -> Mapping[str, str]:
        return self._engine.describe()

    def close(self) -> None:
        self._engine.close()


def open_faulty_engine(*args: Any, **options: Any) -> FaultyEngine:
    command = Path(os.environ[COMMAND_VARIABLE])
    if command.read_text() == "loading":
        time.sleep(LOADING_S)
    return FaultyEngine(open_engine(*args, **options), command)


if __name__ == "__main__":
    worker.open_engine = open_faulty_engine
    sys.exit(main.main())
