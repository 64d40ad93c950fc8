# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_model import fmb_classes
from tiny_training import CLASSES, OPTIONS, RECIPE, source, tiny

from segmif_ros.bundle import MANIFEST, Manifest
from segmif_ros.training.checkpoint import CheckpointError, digest, load_start, read
from segmif_ros.training.loop import train


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.pt"
    torch.manual_seed(3)
    torch.save({"average": tiny(CLASSES).state_dict(), "variant": "tiny"}, path)
    return path


def bundle(tmp_path: Path, source: object) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir(exist_ok=True)
    provenance = {"checkpoint": source} if source else {}
    manifest = Manifest(
        "tiny", "model.onnx", "00", (480, 640), fmb_classes(), provenance=provenance
    )
    (folder / MANIFEST).write_text(manifest.to_json())
    return folder


def test_a_run_begins_with_the_weights_of_another(weights: Path, tmp_path: Path) -> None:
    network = tiny(CLASSES)
    assert load_start(network, weights).endswith("all weights")
    stored = read(weights)["average"]
    assert all(torch.equal(stored[name], value) for name, value in network.state_dict().items())
    recipe = replace(RECIPE, steps=1, lr=0.0)
    average = train(
        recipe, {"blocks": source()}, tmp_path, classes=CLASSES, start=weights, options=OPTIONS
    )
    assert torch.equal(average.predict.weight, stored["predict.weight"])


def test_other_classes_begin_with_a_fresh_class_layer(weights: Path) -> None:
    network = tiny(9)
    fresh = network.predict.weight.clone()
    assert "all weights but the class layer" in load_start(network, weights)
    assert torch.equal(network.predict.weight, fresh)
    assert torch.equal(network.stem.weight, read(weights)["average"]["stem.weight"])


def test_a_bundle_leads_to_its_checkpoint(weights: Path, tmp_path: Path) -> None:
    named = {"path": str(weights), "sha256": digest(weights)}
    assert load_start(tiny(CLASSES), bundle(tmp_path, named)).endswith("all weights")
    with pytest.raises(CheckpointError, match="has changed since"):
        load_start(tiny(CLASSES), bundle(tmp_path, {**named, "sha256": "0"}))
    with pytest.raises(CheckpointError, match="which is not here"):
        load_start(tiny(CLASSES), bundle(tmp_path, {**named, "path": "gone.pt"}))
    with pytest.raises(CheckpointError, match="names no checkpoint"):
        load_start(tiny(CLASSES), bundle(tmp_path, None))


def test_what_is_no_checkpoint_of_this_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        read(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"text\.pt cannot be read"):
        read(tmp_path / "text.pt")
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no averaged weights"):
        read(tmp_path / "other.pt")
    torch.save({"average": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "linear.pt")
    with pytest.raises(CheckpointError, match="another network"):
        load_start(tiny(CLASSES), tmp_path / "linear.pt")


def test_a_checkpoint_of_the_first_version_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It held weights, average, optimiser and step."""
    pairs = {"blocks": source()}
    recipe = replace(RECIPE, steps=2)
    train(recipe, pairs, tmp_path, classes=CLASSES, options=OPTIONS)
    path = tmp_path / "checkpoint.pt"
    stored = read(path)
    old = {name: stored[name] for name in ("network", "average", "optimiser")}
    for group in old["optimiser"]["param_groups"]:
        del group["head"]
    torch.save({**old, "step": 1}, path)
    train(recipe, pairs, tmp_path, classes=CLASSES, resume=True, options=OPTIONS)
    assert "older version" in capsys.readouterr().out
    assert read(path)["step"] == 2


def test_a_run_resumes_with_its_own_recipe_only(tmp_path: Path) -> None:
    pairs = {"blocks": source()}
    train(replace(RECIPE, steps=1), pairs, tmp_path, classes=CLASSES, options=OPTIONS)
    with pytest.raises(CheckpointError, match="does not fit this recipe"):
        train(
            replace(RECIPE, variant="tiny-cascade"), pairs, tmp_path, classes=CLASSES,
            resume=True, options=OPTIONS,
        )  # fmt: skip
    with pytest.raises(CheckpointError, match="class list 'fmb15', the recipe names 'mfnet9'"):
        train(
            replace(RECIPE, labels="mfnet9"), pairs, tmp_path, classes=CLASSES, resume=True,
            options=OPTIONS,
        )  # fmt: skip
    with pytest.raises(CheckpointError, match="is missing"):
        train(RECIPE, pairs, tmp_path / "new", classes=CLASSES, resume=True, options=OPTIONS)


def test_a_shipped_bundle_is_known_by_its_name() -> None:
    with pytest.raises(CheckpointError, match=r"segmif-nano.*checkpoint"):
        load_start(tiny(CLASSES), Path("segmif-nano"))
