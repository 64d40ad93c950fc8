# SPDX-License-Identifier: Apache-2.0
"""What the class ids of a model mean, as text for topics and bags."""

from __future__ import annotations

import json
from dataclasses import dataclass

from segmif_ros.bundle import LabelClass, Manifest
from segmif_ros.documents import DocumentError, conform, parse_json
from segmif_ros.frames import UNLABELLED


@dataclass(frozen=True, slots=True)
class _Labels:
    model: str
    classes: tuple[LabelClass, ...]


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


def parse_labels(text: str) -> tuple[str, tuple[LabelClass, ...]]:
    """Return model name and classes out of what `labels_json` wrote.

    Raises:
        ValueError: it was not written by that.
    """
    try:
        told = conform(parse_json(text), _Labels, extra=True)
    except DocumentError as err:
        raise ValueError(f"not the labels of a model: {err}") from err
    return told.model, told.classes
