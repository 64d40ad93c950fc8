# SPDX-License-Identifier: Apache-2.0
"""Files of torch.save: plain weights by plain names, or one line that says what the file is."""

from __future__ import annotations

import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="pip install 'segmif_ros[train]'")

pytest.importorskip("hypothesis", reason="pip install 'segmif_ros[test]'")

import torch
from hypothesis import given
from hypothesis import strategies as st

from segmif_ros.network.weights_file import WeightsFileError, load_stored, state_dict_of

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"


def weights(path: Path) -> dict[str, torch.Tensor]:
    return state_dict_of(load_stored(path), path)


def stored(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "_orig_mod.",
        "module.module.",
        "_orig_mod.module.",
        "module._orig_mod.module.",
    ],
)
def test_what_training_puts_in_front_of_names_is_taken_away(tmp_path: Path, prefix: str) -> None:
    state = {f"{prefix}a.weight": torch.ones(2).half(), f"{prefix}b.module.bias": torch.zeros(1)}
    found = weights(stored(tmp_path / "w.pth", state))
    assert list(found) == ["a.weight", "b.module.bias"]
    assert all(value.dtype == torch.float32 for value in found.values())


def test_a_compiled_part_and_a_wrapped_state_dict_are_read(tmp_path: Path) -> None:
    state = {"encoder._orig_mod.a": torch.ones(1)}
    for wrapped in (state, {"state_dict": state}, {"model": state, "epoch": 3}):
        assert list(weights(stored(tmp_path / "w.pth", wrapped))) == ["encoder.a"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"\n  <?xml version='1.0'?><Error>NoSuchKey</Error>", "is a web page or XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b'{"error": "not found"}', "is JSON"),
        (b"hello", "cut short or damaged"),
        (b"PK\x03\x04" + bytes(99), "cut short or damaged"),
        (pickle.dumps({"a": 1}), "cannot be read as plain weights"),
    ],
)
def test_what_is_no_file_of_weights_says_what_it_is(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsFileError, match=said) as caught:
        weights(tmp_path / "w.pth")
    message = str(caught.value)
    assert str(tmp_path / "w.pth") in message
    assert "weights_only" not in message, "torch's advice to switch its check off"
    assert "\n" not in message


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"a": torch.ones(3, 3).to_sparse()}, "'a' is torch.sparse_coo"),
        ({"a": torch.ones(3, dtype=torch.complex64)}, "torch.complex64"),
        ({"a": torch.empty(3, device="meta")}, "more values than the file holds"),
        ({"a": torch.ones(1).expand(10**10)}, "more values than the file holds"),
        ({"a": torch.tensor([1.0, float("inf")])}, "not finite"),
        ({"a": 7}, "'a' is int, expected a tensor"),
        ({"a": torch.ones(1), "module.a": torch.ones(1)}, "comes twice"),
        ([torch.ones(1)], "holds list"),
        ({}, "holds dict"),
    ],
)
def test_weights_that_are_none_are_refused(tmp_path: Path, state: object, said: str) -> None:
    with pytest.raises(WeightsFileError, match=said):
        weights(stored(tmp_path / "w.pth", state))


def test_what_calls_code_is_named_and_not_called(tmp_path: Path) -> None:
    with pytest.raises(WeightsFileError, match=r"it calls torch\.nn\.modules\.linear\.Linear"):
        weights(stored(tmp_path / "w.pth", torch.nn.Linear(2, 2)))


def test_a_file_that_unpacks_to_more_is_refused(tmp_path: Path) -> None:
    plain = stored(tmp_path / "w.pth", {"a": torch.zeros(1_000_000)})
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    with pytest.raises(WeightsFileError, match="says it holds"):
        weights(packed)


def test_places_without_a_file_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.pth", Path("a\0b")):
        with pytest.raises(WeightsFileError, match="is missing or no file"):
            load_stored(path)


@given(data=st.data())
def test_any_bytes_lead_to_a_decision(tmp_path_factory: Any, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pth"
    stored(path, {"a.weight": torch.ones(2, 3), "b": torch.zeros(1)})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(WeightsFileError):
        weights(path)


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases (../shared/cases) are not there")
@pytest.mark.parametrize("name", ["empty", "expanded_40GB", "meta", "sparse"])
def test_files_made_to_break_it_are_refused(name: str) -> None:
    (path,) = CASES.glob(f"78-*/{name}.pth")
    with pytest.raises(WeightsFileError):
        weights(path)
