# SPDX-License-Identifier: Apache-2.0
"""What a measured node is fed with: street pairs of the virtual rig at any size, rendered once.

The rig renders at its own sizes; other sizes are those pictures enlarged or shrunk. That is right
for measuring time, not image quality.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segmif_ros.frames import Image8
from segmif_ros.rig.cameras.cameras import Camera, Pinhole, Rig
from segmif_ros.rig.draw.footage import Footage
from segmif_ros.rig.scene.lighting import Lighting
from segmif_ros.rig.scene.planner import random_scene

SEED = 1
"""Street of the rig."""
SOURCE_PAIRS = 8
"""Different pairs that a run repeats: enough that no cache holds them."""

Size = tuple[int, int]
"""(width, height) in pixels."""


def write_source_images(
    path: Path, rgb_size: Size, thermal_size: Size, *, pairs: int = SOURCE_PAIRS, seed: int = SEED
) -> None:
    """Render pairs and write them as one .npz that `read_source_images` reads.

    Args:
        path: file to write.
        rgb_size: (width, height) of the RGB images.
        thermal_size: (width, height) of the thermal images, which are mono16.
        pairs: how many.
        seed: which street.
    """
    footage = Footage(random_scene(seed), Rig.default(), [Lighting.DAY], frames=pairs, ahead=pairs)
    footage.prepare(lambda _done, _of: True)
    rgb = [cv2.resize(footage.visible(i)[0], rgb_size) for i in range(pairs)]
    thermal = [cv2.resize(footage.thermal(i), thermal_size) for i in range(pairs)]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, rgb=np.stack(rgb), thermal=np.stack(thermal))


def read_source_images(path: Path) -> tuple[Image8, NDArray[np.uint16]]:
    """Return RGB images (NxHxWx3 uint8) and thermal images (Nxhxw uint16)."""
    with np.load(path) as archive:
        return archive["rgb"], archive["thermal"]


def scaled_rig(rgb_size: Size, thermal_size: Size) -> Rig:
    """Return the default rig with other image sizes: what its enlarged pictures were taken with."""
    rig = Rig.default()
    return Rig(_scaled(rig.rgb, rgb_size), _scaled(rig.thermal, thermal_size))


def _scaled(camera: Camera, size: Size) -> Camera:
    k = camera.intrinsics
    x, y = size[0] / k.width, size[1] / k.height
    # Pixel centres are at whole numbers, so the picture's edge is half a pixel before zero.
    cx, cy = (k.cx + 0.5) * x - 0.5, (k.cy + 0.5) * y - 0.5
    return replace(camera, intrinsics=Pinhole(*size, k.fx * x, k.fy * y, cx, cy))
