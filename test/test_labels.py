# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from segmif_ros.bundle import Bundle
from segmif_ros.labels import labels_json, parse_labels


def test_labels_come_back_as_they_were_told(loaded_bundle: Bundle) -> None:
    manifest = loaded_bundle.manifest
    assert parse_labels(labels_json(manifest)) == (manifest.name, manifest.classes)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "x", "classes": [{"id": "?"}]}', "7"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_labels(text)
