# SPDX-License-Identifier: Apache-2.0
"""Colours of classes for eyes; what is stored in files keeps the colours of its class list.

People and vehicles are bright and far apart, ground and buildings muted. Any two of FMB's classes
differ by at least 16 in CIE L*a*b*, also in a simulation of protanopia, deuteranopia and tritanopia
(Machado et al. 2009, severity 1); FMB's own colours come as near as 3. test_display_colors checks.
"""

from __future__ import annotations

from collections.abc import Mapping

from segmif_ros.bundle import LabelClass

Color = tuple[int, int, int]

PERSON: Color = (233, 88, 22)
OUTLINE: Color = (255, 255, 255)
"""Around people."""

DISPLAY: Mapping[str, Color] = {
    "road": (98, 95, 89),
    "sidewalk": (152, 159, 171),
    "building": (150, 130, 104),
    "traffic light": (225, 255, 150),
    "traffic sign": (255, 164, 160),
    "vegetation": (40, 75, 39),
    "sky": (188, 227, 221),
    "person": PERSON,
    "car": (0, 45, 252),
    "truck": (43, 166, 255),
    "bus": (100, 10, 170),
    "motorcycle": (150, 50, 142),
    "bicycle": (255, 228, 0),
    "pole": (52, 15, 20),
    # Other lists' names of the same things.
    "bike": (255, 228, 0),
    "survivor": PERSON,
}
"""By the class's name; other classes have the colour of their list."""


def display_color(label: LabelClass) -> Color:
    """Return the colour in which a class is shown."""
    return DISPLAY.get(label.name, label.color)
