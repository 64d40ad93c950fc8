# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from segmif_ros.training.board import Board


def test_rows_after_the_step_of_a_resumed_run_are_dropped(tmp_path: Path) -> None:
    with Board(tmp_path, "fmb15", 0) as board:
        for step in (0, 10, 20):
            board.row(step, {"fusion": 1.0 / (1 + step), "phase": "joint", "best": True})
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 3')  # the power went
    with Board(tmp_path, "fmb15", 11) as board:
        board.row(11, {"fusion": 0.5})
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 10, 11]
    assert rows[0]["phase"] == "joint"


def test_scalars_and_pictures_are_in_tensorboards_files(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    grey = np.full((32, 48), 90, np.uint8)
    colour = np.full((32, 48, 3), 30, np.uint8)
    with Board(tmp_path, "fmb15", 0) as board:
        board.row(5, {"fusion": 0.25, "phase": "joint", "missing": None})
        board.picture(5, "validation", {"visible": colour, "thermal": grey, "mask": grey * 0 + 7})
    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    assert events.Tags()["scalars"] == ["fusion"]
    (event,) = events.Scalars("fusion")
    assert (event.step, event.value) == (5, 0.25)
    (picture,) = events.Images("validation")
    assert (picture.width, picture.height) == (3 * 48, 32)
