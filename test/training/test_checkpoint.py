# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import CLASSES, OPTIONS, RECIPE, cascade, source, tiny

from segmif_ros.bundle import LabelClass
from segmif_ros.export.export import write_bundle
from segmif_ros.training.checkpoint import CheckpointError, digest, load_start, read
from segmif_ros.training.loop import train


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.pt"
    torch.manual_seed(3)
    torch.save({"average": tiny(CLASSES).state_dict(), "variant": "tiny"}, path)
    return path


def bundle(folder: Path, network: torch.nn.Module, **provenance: object) -> Path:
    classes = tuple(LabelClass(i, f"class {i}", (i, i, i)) for i in range(CLASSES))
    write_bundle(
        network.eval(),
        folder,
        name="tiny",
        variant="tiny",
        size=(64, 64),
        classes=classes,
        switches={"attention": "mean"},
        provenance=provenance,
        licence="",
    )
    return folder


def test_a_run_begins_with_the_weights_of_another(weights: Path, tmp_path: Path) -> None:
    network = tiny(CLASSES)
    assert load_start(network, weights).summary.endswith("all weights")
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
    assert "all weights but the class layer" in load_start(network, weights).summary
    assert torch.equal(network.predict.weight, fresh)
    assert torch.equal(network.stem.weight, read(weights)["average"]["stem.weight"])


def test_a_bundle_leads_to_its_checkpoint_while_that_is_unchanged(
    weights: Path, tmp_path: Path
) -> None:
    named = {"path": str(weights), "sha256": digest(weights)}
    folder = bundle(tmp_path / "bundle", tiny(CLASSES), checkpoint=named)
    begun = load_start(tiny(CLASSES), folder)
    assert begun.settled
    assert begun.summary == f"{weights}: all weights"
    weights_gone = bundle(tmp_path / "gone", tiny(CLASSES), checkpoint={**named, "sha256": "0"})
    assert not load_start(tiny(CLASSES), weights_gone).settled


def test_a_bundle_alone_gives_back_what_it_computes(tmp_path: Path) -> None:
    torch.manual_seed(5)
    trained = tiny(CLASSES).train()
    pairs = torch.rand(4, 3, 64, 64), torch.rand(4, 1, 64, 64)
    for parameter in trained.parameters():  # nothing may stay at the zero that it began with
        parameter.data += 0.05 * torch.randn_like(parameter)
    for _ in range(3):
        trained(*pairs)  # the BatchNorms learn statistics of their own
    before = trained.eval()(*pairs)
    trained.predict.bias.data[3] += 0.8
    folder = bundle(tmp_path / "bundle", trained, class_bias={"class 3": 0.8})
    again = tiny(CLASSES)
    begun = load_start(again, folder)
    assert not begun.settled
    after = again.eval()(*pairs)
    torch.testing.assert_close(after.logits, before.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.luma, before.luma, atol=1e-4, rtol=1e-4)


def test_a_run_begun_with_a_bundle_settles_its_norms(tmp_path: Path) -> None:
    torch.manual_seed(6)
    folder = bundle(tmp_path / "bundle", tiny(CLASSES))
    recipe = replace(RECIPE, steps=1, lr=0.0)
    average = train(
        recipe,
        {"blocks": source()},
        tmp_path / "run",
        classes=CLASSES,
        start=folder,
        options=OPTIONS,
    )
    spread = average.encoder.embeds[0][1].running_var
    assert float((spread - 1.0).abs().max()) > 0.1  # 1 is what a graph gives back


def test_a_bundle_without_readable_weights_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no bundle"):
        load_start(tiny(CLASSES), tmp_path)
    folder = bundle(tmp_path / "bundle", tiny(CLASSES))
    with pytest.raises(CheckpointError, match=r"give the checkpoint\.pt"):
        load_start(cascade(CLASSES), folder)


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
    with pytest.raises(CheckpointError, match=r"segmif-nano.*holds another network"):
        load_start(tiny(CLASSES), Path("segmif-nano"))
