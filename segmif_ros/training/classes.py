# SPDX-License-Identifier: Apache-2.0
"""Class lists of data sets, from config/labels."""

from __future__ import annotations

import yaml

from segmif_ros.bundle import LabelClass
from segmif_ros.share import share_path


def load_classes(name: str) -> tuple[LabelClass, ...]:
    """Read config/labels/<name>.yaml.

    Raises:
        FileNotFoundError: no such list; the message names the folder.
    """
    path = share_path("config", "labels", f"{name}.yaml")
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(
        LabelClass(int(c["id"]), str(c["name"]), (c["color"][0], c["color"][1], c["color"][2]))
        for c in raw["classes"]
    )
