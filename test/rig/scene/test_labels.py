# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import yaml

from segmif_ros.rig.scene.labels import Label
from segmif_ros.share import share_path


def test_ids_and_names_are_those_of_the_shipped_label_file():
    shipped = yaml.safe_load(share_path("config", "labels", "fmb15.yaml").read_text())
    ours = {int(label): label.name.lower().replace("_", " ") for label in Label}
    assert ours == {entry["id"]: entry["name"] for entry in shipped["classes"]}
