# SPDX-License-Identifier: Apache-2.0
"""One labelled training frame per seed: scene, moment and lighting all follow from the number."""

from __future__ import annotations

import numpy as np

from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.render import Renderer, RigFrame
from segmif_ros.rig.scene.distractors import with_distractors
from segmif_ros.rig.scene.lighting import Lighting
from segmif_ros.rig.scene.planner import random_scene

_LIGHTINGS = (Lighting.DAY, Lighting.DUSK, Lighting.NIGHT, Lighting.GLARE, Lighting.SMOKE)
_SHARES = (0.3, 0.15, 0.3, 0.1, 0.15)


def training_frame(seed: int, *, distractors: bool = False) -> RigFrame:
    """Render one registered pair (640x480, both cameras in one place) with its true labels.

    Args:
        seed: decides scene, moment and lighting.
        distractors: put in what is mistaken for people and cars.
    """
    lighting, moment = _conditions(seed)
    scene = random_scene(seed)
    scene = with_distractors(scene) if distractors else scene
    return Renderer(scene, Rig.aligned(), lighting).frame(moment)


def training_lighting(seed: int) -> Lighting:
    """Return how the frame of a seed is lit, without rendering it."""
    return _conditions(seed)[0]


def _conditions(seed: int) -> tuple[Lighting, float]:
    rng = np.random.default_rng(seed)
    lighting = _LIGHTINGS[int(rng.choice(len(_LIGHTINGS), p=_SHARES))]
    return lighting, float(rng.uniform(0.0, 8.0))
