# SPDX-License-Identifier: Apache-2.0
"""Words and names that the measuring program and its processes share."""

from __future__ import annotations

WORD = "bench: "
"""Begin of a log line that is meant for the measuring program."""

READY = "ready"
WARM = "warm"
SENT = "sent"
MARKED = "marked"


def image_topics(rig: int) -> dict[str, str]:
    """Return the camera topics of one rig."""
    return {name: f"/rig{rig}/{name}/image_raw" for name in ("rgb", "thermal")}


def node_name(rig: int) -> str:
    """Return the full name of the node behind one rig."""
    return f"/rig{rig}/segmif"


def output_topic(rig: int, output: str) -> str:
    """Return the topic of one output of the node behind one rig."""
    return f"{node_name(rig)}/output/{output}"
