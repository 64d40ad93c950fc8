# SPDX-License-Identifier: Apache-2.0
"""Class lists of data sets, from config/labels."""

from __future__ import annotations

from pathlib import Path

import yaml

from segmif_ros.bundle import LabelClass
from segmif_ros.share import share_path


def load_classes(name: str) -> tuple[LabelClass, ...]:
    """Read config/labels/<name>.yaml, or the file `name` where it ends in .yaml.

    Raises:
        FileNotFoundError: no such list; the message names the place.
        ValueError: the file is no class list.
    """
    path = Path(name) if name.endswith(".yaml") else share_path("config", "labels", f"{name}.yaml")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        return tuple(
            LabelClass(int(c["id"]), str(c["name"]), (c["color"][0], c["color"][1], c["color"][2]))
            for c in raw["classes"]
        )
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, IndexError) as err:
        reason = str(err).splitlines()[0]
        raise ValueError(
            f"{path} is no class list ({reason}); expected classes with id, name and color, as in "
            "config/labels/fmb15.yaml"
        ) from err
