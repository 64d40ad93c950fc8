# SPDX-License-Identifier: Apache-2.0
"""What the class ids of a model mean, as text for topics and bags."""

from __future__ import annotations

import json

from segmif_ros.bundle import Manifest
from segmif_ros.frames import UNLABELLED


def labels_json(manifest: Manifest) -> str:
    """Return the class list of a model as JSON, for readers without vision_msgs."""
    return json.dumps(
        {
            "model": manifest.name,
            "unlabelled": UNLABELLED,
            "classes": [
                {"id": label.id, "name": label.name, "color": list(label.color)}
                for label in manifest.classes
            ],
        }
    )
