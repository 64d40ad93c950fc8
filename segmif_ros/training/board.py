# SPDX-License-Identifier: Apache-2.0
"""Writes log.jsonl, and TensorBoard scalars and pictures in board/."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segmif_ros.datasets.classes import load_classes
from segmif_ros.frames import Image8
from segmif_ros.outputs import write_whole
from segmif_ros.render import colorize, palette
from segmif_ros.share import install_command


class Board:
    """Writes one row at a time; rows after the step that a run resumes at are dropped first."""

    def __init__(self, out: Path, labels: str, first: int) -> None:
        """Open the files in `out`.

        Args:
            out: folder of the run.
            labels: class list for the colours of masks.
            first: step at which the run starts.
        """
        self._path = out / "log.jsonl"
        _keep_rows_before(self._path, first)
        self._log = self._path.open("a", encoding="utf-8")
        self._colours = palette(load_classes(labels))
        self._began = time.monotonic()
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._writer: Any = None
            print(f"no TensorBoard: {install_command('train')}; log.jsonl is written anyway")
        else:
            self._writer = SummaryWriter(str(out / "board"), purge_step=first)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        if self._writer is not None:
            self._writer.close()

    def row(self, step: int, values: Mapping[str, Any]) -> None:
        """Write one line of log.jsonl, and its numbers as scalars."""
        seconds = round(time.monotonic() - self._began, 1)
        self._log.write(json.dumps({"step": step, **values, "s": seconds}) + "\n")
        self._log.flush()
        if self._writer is not None:
            for name, value in values.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, panes: Mapping[str, Image8]) -> None:
        """Show pictures of one pair side by side: HxWx3 colours, HxW grey, or "mask" class ids."""
        if self._writer is None:
            return
        strip = [
            colorize(image, self._colours)
            if pane == "mask"
            else image
            if image.ndim == 3
            else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
            for pane, image in panes.items()
        ]
        self._writer.add_image(name, np.hstack(strip), step, dataformats="HWC")
        self._writer.flush()


def _keep_rows_before(path: Path, first: int) -> None:
    """Drop rows that an interrupted run logged after its last checkpoint; they are repeated."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # a truncated line
        if int(row.get("step", -1)) < first:
            kept.append(line + "\n")
    write_whole(path, "".join(kept))
