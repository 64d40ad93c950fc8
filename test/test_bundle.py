# SPDX-License-Identifier: Apache-2.0
"""A bundle is loaded only if it is whole; every refusal names the value and what to do."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_model import fmb_classes

from segmif_ros.bundle import (
    MANIFEST,
    Bundle,
    BundleError,
    Manifest,
    ModelFile,
    external_data,
    labels_json,
    parse_labels,
    parse_manifest,
)


@pytest.fixture
def bundle_dir(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def edit_manifest(folder: Path, **changes: Any) -> None:
    """Change fields of the manifest; a field set to ... is removed."""
    path = folder / MANIFEST
    raw = json.loads(path.read_text())
    raw.update(changes)
    path.write_text(json.dumps({k: v for k, v in raw.items() if v is not ...}))


def replace_model(folder: Path, content: bytes) -> None:
    """Put other bytes in the model's place, with a manifest that agrees."""
    (folder / "model.onnx").write_bytes(content)
    edit_manifest(folder, sha256=hashlib.sha256(content).hexdigest())


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder)
    return str(caught.value)


def test_a_good_bundle_says_everything_its_users_need(tiny_bundle: Path) -> None:
    bundle = Bundle.load(str(tiny_bundle))
    assert bundle.model_path == tiny_bundle / "model.onnx"
    assert bundle.manifest.size == (480, 640)
    assert bundle.manifest.classes == fmb_classes()
    assert bundle.manifest.classes[8].name == "person"
    assert bundle.manifest.precision == "fp32"


def test_a_bundle_that_ships_is_known_by_its_name(tmp_path: Path) -> None:
    assert Bundle.load("segmif-nano").manifest.name == "segmif-nano"
    with pytest.raises(BundleError, match="the name of one that ships, for example segmif-nano"):
        Bundle.load("segmif-nono")
    with pytest.raises(BundleError, match=r"no manifest\.json in"):
        Bundle.load(tmp_path / "segmif-nano")  # a path is no name


def test_a_manifest_survives_writing_and_reading(tmp_path: Path) -> None:
    manifest = Manifest(
        name="segmif-nano",
        model="model.onnx",
        sha256="ab" * 32,
        size=(384, 512),
        classes=fmb_classes(),
        variant="nano",
        precision="mixed-fp16",
        switches={"guidance": "saliency"},
        provenance={"seed": 7, "data": ["rig", "m3svd"]},
        licence="research use",
    )
    (tmp_path / MANIFEST).write_text(manifest.to_json())
    assert parse_manifest(tmp_path / MANIFEST) == manifest


def test_an_upper_case_digest_is_the_same_digest(bundle_dir: Path) -> None:
    digest = hashlib.sha256((bundle_dir / "model.onnx").read_bytes()).hexdigest()
    edit_manifest(bundle_dir, sha256=digest.upper())
    assert Bundle.load(bundle_dir).manifest.sha256 == digest


def test_a_folder_without_a_manifest_is_named_with_the_way_to_make_one(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        message = refusal(path)
        assert str(path) in message
        assert "manifest.json" in message
        assert "segmif export" in message


@pytest.mark.parametrize("content", [b"", b"{", b"name: tiny", b"\xff\xfe\x00"])
def test_a_manifest_that_is_not_json_is_refused(bundle_dir: Path, content: bytes) -> None:
    (bundle_dir / MANIFEST).write_bytes(content)
    message = refusal(bundle_dir)
    assert str(bundle_dir / MANIFEST) in message
    assert "copy the bundle again" in message


@pytest.mark.parametrize(("found", "shown"), [(2, "2"), ("1", "'1'"), (..., "None")])
def test_another_format_number_is_refused(bundle_dir: Path, found: object, shown: str) -> None:
    edit_manifest(bundle_dir, format=found)
    message = refusal(bundle_dir)
    assert f"format {shown}, expected 1" in message
    assert "export it again" in message


def test_a_json_list_is_no_manifest(bundle_dir: Path) -> None:
    (bundle_dir / MANIFEST).write_text("[]")
    assert "format 'list', expected 1" in refusal(bundle_dir)


@pytest.mark.parametrize("key", ["name", "model", "sha256", "size", "classes"])
def test_a_missing_field_is_named(bundle_dir: Path, key: str) -> None:
    edit_manifest(bundle_dir, **{key: ...})
    message = refusal(bundle_dir)
    assert f"field '{key}' is missing" in message
    assert "export it again" in message


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("size", [480], "size is [480]"),
        ("size", [480, 0], "size[1] is 0"),
        ("size", [480, -640], "size[1] is -640"),
        ("size", [480.5, 640], "size[0] is 480.5"),
        ("size", "480x640", "size is '480x640'"),
        ("name", "", "name is ''"),
        ("model", None, "model is None"),
        ("model", "", "model is ''"),
        ("sha256", 5, "sha256 is 5"),
        ("classes", 15, "'int'"),
        ("classes", ["road"], "malformed"),
        ("switches", "none", "malformed"),
        ("size", [1e30, 640], "size[0] is 1e+30"),
        ("size", [10**15, 640], "size[0] is 1000000000000000"),
        ("licence", ["MIT"], "licence is ['MIT']"),
        ("classes", [{"id": 0.9, "name": "road", "color": [0, 0, 0]}], "classes[0].id is 0.9"),
        ("classes", [{"id": True, "name": "road", "color": [0, 0, 0]}], "classes[0].id is True"),
        ("classes", [{"id": 0, "name": 7, "color": [0, 0, 0]}], "classes[0].name is 7"),
        ("gait", {}, "unknown field 'gait'"),
    ],
)
def test_a_malformed_field_is_named(bundle_dir: Path, key: str, value: object, named: str) -> None:
    edit_manifest(bundle_dir, **{key: value})
    message = refusal(bundle_dir)
    assert named in message
    assert "export it again" in message


@pytest.mark.parametrize("color", [[0, 0, 256], [-1, 0, 0], [0, 0], [0, 0, 0, 0], ["0", 0, 0], 3])
def test_a_colour_that_is_none_is_refused(bundle_dir: Path, color: object) -> None:
    edit_manifest(bundle_dir, classes=[{"id": 0, "name": "road", "color": color}])
    message = refusal(bundle_dir)
    assert str(bundle_dir / MANIFEST) in message
    assert "malformed" in message
    assert "classes[0].color" in message


@pytest.mark.parametrize("ids", [[1, 2], [0, 2], [1, 0], [0, 0], [], list(range(256))])
def test_class_ids_must_count_up_from_zero(bundle_dir: Path, ids: list[int]) -> None:
    classes = [{"id": i, "name": f"c{i}", "color": [0, 0, 0]} for i in ids]
    edit_manifest(bundle_dir, classes=classes)
    message = refusal(bundle_dir)
    assert f"class ids {ids}" in message
    assert "correct the class list" in message


def test_a_model_that_was_replaced_is_refused_by_its_digest(bundle_dir: Path) -> None:
    with (bundle_dir / "model.onnx").open("ab") as model:
        model.write(b"\0")
    digest = hashlib.sha256((bundle_dir / "model.onnx").read_bytes()).hexdigest()
    message = refusal(bundle_dir)
    assert digest[:12] in message
    assert "copy the bundle again" in message


@pytest.mark.parametrize(
    "name",
    ["../model.onnx", "weights/model.onnx", "..", ".", "./model.onnx", "a\0b", "m" * 300, "a\nb"],
)
def test_a_model_outside_its_bundle_is_refused(bundle_dir: Path, name: str) -> None:
    (bundle_dir / "weights").mkdir()
    for folder in (bundle_dir.parent, bundle_dir / "weights"):
        shutil.copy(bundle_dir / "model.onnx", folder)
    edit_manifest(bundle_dir, model=name)
    message = refusal(bundle_dir)
    assert repr(name) in message
    assert "must hold its own ONNX file" in message


def test_an_absolute_model_path_is_refused_even_inside_the_bundle(bundle_dir: Path) -> None:
    edit_manifest(bundle_dir, model=str(bundle_dir / "model.onnx"))
    assert "must hold its own ONNX file" in refusal(bundle_dir)


def test_a_link_that_leaves_the_bundle_is_refused(bundle_dir: Path) -> None:
    elsewhere = bundle_dir.parent / "elsewhere.onnx"
    (bundle_dir / "model.onnx").rename(elsewhere)
    (bundle_dir / "model.onnx").symlink_to(elsewhere)
    assert "points outside the bundle" in refusal(bundle_dir)


def test_a_missing_model_is_named(bundle_dir: Path) -> None:
    (bundle_dir / "model.onnx").unlink()
    message = refusal(bundle_dir)
    assert "'model.onnx' is missing" in message
    assert "copy it again" in message


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08", bytes(range(256)) * 64])
def test_a_corrupt_model_with_the_right_digest_is_refused(bundle_dir: Path, content: bytes) -> None:
    replace_model(bundle_dir, content)
    message = refusal(bundle_dir)
    assert str(bundle_dir / "model.onnx") in message
    assert "export it again" in message


def test_half_a_model_with_the_right_digest_is_refused(bundle_dir: Path) -> None:
    content = (bundle_dir / "model.onnx").read_bytes()
    replace_model(bundle_dir, content[: len(content) // 2])
    assert "not an ONNX file" in refusal(bundle_dir)


def weight(name: str = "w") -> TensorProto:
    return numpy_helper.from_array(np.arange(4096, dtype=np.float32), name)


def test_weights_saved_outside_the_model_are_refused(bundle_dir: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "outside",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4096])],
        [weight()],
    )
    onnx.save_model(
        helper.make_model(graph),
        str(bundle_dir / "model.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert (bundle_dir / "weights.bin").stat().st_size >= 4 * 4096
    replace_model(bundle_dir, (bundle_dir / "model.onnx").read_bytes())
    message = refusal(bundle_dir)
    assert "'weights.bin'" in message
    assert "export with the weights inside" in message


def outside(tensor: TensorProto, location: str) -> TensorProto:
    """The same tensor with its values said to be in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_external_data_is_found_wherever_a_tensor_can_be() -> None:
    constant = helper.make_node("Constant", [], ["c"], value=outside(weight(), "constant.bin"))
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["d"], value=outside(weight(), "branch.bin"))],
        "branch",
        [],
        [],
        [outside(weight("b"), "branch_weight.bin")],
    )
    sparse = helper.make_sparse_tensor(
        outside(weight("s"), "sparse.bin"), numpy_helper.from_array(np.zeros(4096, np.int64)), [9]
    )
    function = helper.make_function(
        "local",
        "f",
        [],
        ["e"],
        [helper.make_node("Constant", [], ["e"], value=outside(weight(), "function.bin"))],
        [helper.make_opsetid("", 17)],
        attributes=["given"],
        attribute_protos=[helper.make_attribute("value", outside(weight(), "default.bin"))],
    )
    training = onnx.TrainingInfoProto()
    training.algorithm.initializer.append(outside(weight(), "training.bin"))
    compiled = helper.make_node("EPContext", ["x"], ["y"], "ctx", domain="com.microsoft")
    nodes = [
        constant,
        compiled,
        helper.make_node("If", ["q"], ["r"], then_branch=branch, else_branch=branch),
    ]
    graph = helper.make_graph(nodes, "g", [], [], [weight("inside"), outside(weight(), "/abs.bin")])
    graph.sparse_initializer.append(sparse)
    model = helper.make_model(graph, functions=[function])
    model.training_info.append(training)
    assert set(external_data(model.SerializeToString(), "g.onnx")) == {
        "constant.bin",
        "branch.bin",
        "branch_weight.bin",
        "sparse.bin",
        "function.bin",
        "default.bin",
        "training.bin",
        "what node 'ctx' was compiled to",
        "/abs.bin",
    }


def test_a_machine_without_onnx_is_reported_in_one_line(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "[cpu]" in refusal(tiny_bundle)


def test_a_model_with_its_weights_inside_refers_to_no_file(tiny_bundle: Path) -> None:
    assert external_data((tiny_bundle / "model.onnx").read_bytes(), "model.onnx") == []


def with_int8(folder: Path, **changes: Any) -> Bundle:
    """Add a second model file, a copy of the first under another name."""
    content = (folder / "model.onnx").read_bytes()
    (folder / "model_int8.onnx").write_bytes(content)
    entry = {"file": "model_int8.onnx", "sha256": hashlib.sha256(content).hexdigest(), **changes}
    edit_manifest(folder, models={"int8": entry})
    return Bundle.load(folder)


def test_an_old_bundle_has_the_precision_it_says(bundle_dir: Path) -> None:
    assert Bundle.load(bundle_dir).precisions == ("fp32",)
    edit_manifest(bundle_dir, precision="mixed-fp16")
    bundle = Bundle.load(bundle_dir)
    assert bundle.precisions == ("fp16",)
    assert bundle.select("fp16") is bundle


def test_another_precision_is_the_same_bundle_with_another_file(bundle_dir: Path) -> None:
    bundle = with_int8(bundle_dir, made={"pairs": 8})
    assert bundle.precisions == ("fp32", "int8")
    assert bundle.model_path.name == "model.onnx"  # what an older reader takes
    chosen = bundle.select("int8")
    assert chosen.model_path == bundle_dir / "model_int8.onnx"
    assert chosen.manifest.precision == "int8"
    assert chosen.manifest.classes == bundle.manifest.classes
    assert bundle.manifest.files["int8"].made == {"pairs": 8}
    assert chosen.select("fp32").model_path == bundle.model_path


def test_a_precision_that_is_not_there_is_refused_with_the_way_to_make_it(bundle_dir: Path) -> None:
    with pytest.raises(BundleError) as caught:
        with_int8(bundle_dir).select("fp16")
    message = str(caught.value)
    assert "no 'fp16' model, only fp32, int8" in message
    assert f"segmif quantise {bundle_dir} --write-precision fp16" in message


def test_a_damaged_file_is_refused_when_it_is_chosen(bundle_dir: Path) -> None:
    bundle = with_int8(bundle_dir)
    with (bundle_dir / "model_int8.onnx").open("ab") as file:
        file.write(b"\0")
    assert Bundle.load(bundle_dir).model_path.name == "model.onnx"
    with pytest.raises(BundleError, match="copy the bundle again"):
        bundle.select("int8")


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "sub/model.onnx"])
def test_another_file_must_lie_in_the_bundle_too(bundle_dir: Path, name: str) -> None:
    with pytest.raises(BundleError, match="must hold its own ONNX file"):
        with_int8(bundle_dir, file=name).select("int8")


@pytest.mark.parametrize(
    ("models", "named"),
    [
        ({"int4": {"file": "a.onnx", "sha256": "00"}}, "models has 'int4'"),
        ({"int8": {"sha256": "00"}}, "field 'file' is missing"),
        ({"int8": "a.onnx"}, "malformed"),
        ({"fp32": {"file": "a.onnx", "sha256": "00"}}, "one file for each precision"),
        ([1], "malformed"),
    ],
)
def test_malformed_models_are_named(bundle_dir: Path, models: object, named: str) -> None:
    edit_manifest(bundle_dir, models=models)
    assert named in refusal(bundle_dir)


def test_a_manifest_with_everything_survives_writing_and_reading(tmp_path: Path) -> None:
    manifest = Manifest(
        name="a", model="model.onnx", sha256="ab" * 32, size=(64, 96), classes=fmb_classes(),
        models={"fp16": ModelFile("model_fp16.onnx", "cd" * 32, {"gate": "passed"})},
        gate={"mask_agreement": 0.9},
    )  # fmt: skip
    (tmp_path / MANIFEST).write_text(manifest.to_json())
    assert parse_manifest(tmp_path / MANIFEST) == manifest
    plain = Manifest("a", "model.onnx", "ab" * 32, (64, 96), fmb_classes())
    assert "models" not in json.loads(plain.to_json())
    assert "gate" not in json.loads(plain.to_json())


def with_weights(folder: Path, *weights: TensorProto) -> None:
    """Add weights to the model, with a manifest that agrees."""
    model = onnx.load(folder / "model.onnx")
    model.graph.initializer.extend(weights)
    replace_model(folder, model.SerializeToString())


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_weights_that_are_no_numbers_are_refused(bundle_dir: Path, dtype: type) -> None:
    values = np.ones(4, dtype)
    with_weights(bundle_dir, numpy_helper.from_array(values / dtype(0), "mask"))
    assert Bundle.load(bundle_dir), "infinity is what masks are made of"
    values[2] = np.nan
    with_weights(bundle_dir, numpy_helper.from_array(values, "stem.weight"))
    assert "weights 'stem.weight' hold NaN" in refusal(bundle_dir)


def test_a_class_list_of_another_length_than_the_models_is_refused(bundle_dir: Path) -> None:
    with_weights(bundle_dir, numpy_helper.from_array(np.ones(15, np.float32), "net.predict.bias"))
    assert Bundle.load(bundle_dir)
    classes = [{"id": i, "name": f"c{i}", "color": [0, 0, 0]} for i in range(9)]
    edit_manifest(bundle_dir, classes=classes)
    assert "has 15 classes, the manifest names 9" in refusal(bundle_dir)


def test_labels_survive_a_round_trip(loaded_bundle: Bundle) -> None:
    manifest = loaded_bundle.manifest
    assert parse_labels(labels_json(manifest)) == (manifest.name, manifest.classes)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "x", "classes": [{"id": "?"}]}', "7"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_labels(text)
