# SPDX-License-Identifier: Apache-2.0
"""Detects that a camera moved against the other one, from an occasional registered pair.

A single pair is not reliable: near objects are shifted by parallax, and a turning vehicle shifts
the whole picture. The newest pairs are therefore evaluated together, and the state changes only
after several equal results in a row.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Any

from numpy.typing import NDArray

from segmif_ros.calibration.edge_shift import Shift, TileScores, best_shift, tile_scores
from segmif_ros.frames import Image8

WINDOW = 6
"""Number of pairs that are evaluated together."""
LEAST_PAIRS = 3
"""Least number of pairs, and of different scenes for independent pairs."""
LEAST_PROMINENCE = 6.5
"""Least prominence of a peak, in standard deviations of chance.

Pairs of different places, mirrored pairs and noise reach 5.2; six registered pairs of real cameras
have 8.5 and more together.
"""
LEAST_LOSS = 3.0
"""Least loss of correlation at the current alignment for the state `moved`."""
CONFIRMED_AFTER = 3
"""Equal results in a row that change the state."""
CONFIRMED_IN_ONE_SCENE_AFTER = 12
"""The same for a shift in only one scene, which may be parallax."""
SAME_SCENE = 0.4
"""Scene correlation: pairs of one place have 0.5 or more, of a moving vehicle 0.25 or less."""
_COARSE_SHARE = 0.1
"""Largest relative difference of equal large shifts, which are measured coarsely."""
REFERENCE_WIDTH = 640
"""Limits are in pixels of an RGB image of this width; wider ones in proportion."""


class AlignmentState(Enum):
    """State of the alignment."""

    UNKNOWN = "unknown"
    ALIGNED = "aligned"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Alignment:
    """Result after a measurement.

    Attributes:
        state: changes only after several measurements that agree.
        judgement: result of the newest pairs only.
        shift: of the newest pairs.
        last_confirmed: the newest conclusive shift, None before the first; of a moved
            camera the newest that showed it.
        rgb_width: width of the RGB pictures, pixels.
    """

    state: AlignmentState
    judgement: AlignmentState
    shift: Shift
    last_confirmed: Shift | None
    rgb_width: int

    def relative_px(self, shift: Shift) -> float:
        """Return the size of a shift in pixels of a picture 640 wide."""
        return shift.rms_px * REFERENCE_WIDTH / self.rgb_width


class AlignmentWatch:
    """Evaluates pairs in sequence; not thread safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset after the cameras were stopped or the calibration was changed."""
        self._window: deque[tuple[int, TileScores]] = deque(maxlen=WINDOW)
        self._scene = 0
        self._aligned_scene: int | None = None
        self._state = AlignmentState.UNKNOWN
        self._judgement = AlignmentState.UNKNOWN
        self._streak = 0
        self._told: Shift | None = None

    def measure(
        self,
        rgb: Image8,
        thermal: Image8,
        valid: NDArray[Any] | None = None,
        *,
        warn_px: float = 4.0,
    ) -> Alignment:
        """Measure one pair: 30 ms of one core at 640x480.

        Args:
            rgb: HxWx3.
            thermal: HxW, registered.
            valid: HxW, not 0 where `thermal` has data, None if everywhere.
            warn_px: a larger shift counts as moved, RMS over the picture, in pixels of a picture
                640 wide; 0 for never.

        Raises:
            ValueError: the two are not of one size.
        """
        scores = tile_scores(rgb, thermal, valid)
        if self._window and self._window[-1][1].rgb_size != scores.rgb_size:
            self.reset()
        if self._window and scores.likeness(self._window[-1][1]) < SAME_SCENE:
            self._scene += 1
        self._window.append((self._scene, scores))
        shift = best_shift(TileScores.mean([each for _, each in self._window]))
        width = scores.rgb_size[1]
        limit = warn_px * width / REFERENCE_WIDTH if warn_px > 0.0 else math.inf
        self._conclude(self._judge(shift, limit), shift, limit)
        return Alignment(self._state, self._judgement, shift, self._told, width)

    def _judge(self, shift: Shift, limit: float) -> AlignmentState:
        if len(self._window) < LEAST_PAIRS or shift.prominence < LEAST_PROMINENCE:
            return AlignmentState.UNKNOWN
        if shift.rms_px <= limit:
            return AlignmentState.ALIGNED
        return AlignmentState.MOVED if shift.loss >= LEAST_LOSS else AlignmentState.UNKNOWN

    def _conclude(self, judgement: AlignmentState, shift: Shift, limit: float) -> None:
        """Change the state after enough equal results."""
        moved = judgement is AlignmentState.MOVED
        agrees = judgement is self._judgement
        if moved and agrees and self._told is not None:
            apart = math.hypot(shift.dx - self._told.dx, shift.dy - self._told.dy)
            agrees = apart <= max(limit, _COARSE_SHARE * shift.rms_px)
        self._streak = self._streak + 1 if agrees else 1
        self._judgement = judgement
        if judgement is AlignmentState.ALIGNED and len(self._scenes()) == 1:
            self._aligned_scene = self._scene
        needed = CONFIRMED_AFTER
        if moved and not self._independent():
            needed = CONFIRMED_IN_ONE_SCENE_AFTER
        # The state lasts until the edges agree again.
        lasting = judgement is AlignmentState.UNKNOWN and self._state is AlignmentState.MOVED
        if self._streak >= needed and not lasting:
            self._state = judgement
        waits = self._state is AlignmentState.MOVED and not moved
        if judgement is not AlignmentState.UNKNOWN and not waits:
            self._told = shift

    def _independent(self) -> bool:
        """Whether a shift is not parallax: it is in many scenes, or new in this one."""
        return len(self._scenes()) >= LEAST_PAIRS or self._aligned_scene == self._scene

    def _scenes(self) -> set[int]:
        return {scene for scene, _ in self._window}
