# SPDX-License-Identifier: Apache-2.0
"""Draws the pairs of pictures that a bundle carries, on which its engines are compared."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from segmif_ros.frames import Image8
from segmif_ros.rig.cameras.cameras import Rig
from segmif_ros.rig.draw.render import Renderer
from segmif_ros.rig.scene.lighting import Lighting
from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.thermal import ThermalNormaliser

PAIRS = (
    (Lighting.DAY, 11),
    (Lighting.DAY, 12),
    (Lighting.NIGHT, 13),
    (Lighting.NIGHT, 14),
    (Lighting.DUSK, 15),
)
"""Lighting and scene of each."""
_MOMENT_S = 2.0
_QUALITY = 40


@cache
def reference_pictures() -> dict[str, bytes]:
    """Return `NAME_rgb.jpg` and `NAME_thermal.jpg` of every pair: 640x480, registered, 8 bits.

    The virtual rig draws the same ones every time; together they have less than 200 kB.
    """
    files = {}
    for lighting, seed in PAIRS:
        frame = Renderer(random_scene(seed), Rig.aligned(), lighting).frame(_MOMENT_S)
        name = f"{lighting.value}_{seed}"
        files[f"{name}_rgb.jpg"] = _jpeg(frame.rgb[..., ::-1])
        files[f"{name}_thermal.jpg"] = _jpeg(ThermalNormaliser().normalise(frame.thermal))
    return files


def _jpeg(image: Image8) -> bytes:
    done, coded = cv2.imencode(
        ".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    assert done, "OpenCV encodes every picture of this kind"
    return coded.tobytes()
