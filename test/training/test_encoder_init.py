# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segmif_ros.network.mix_transformer import EncoderShape, MixTransformer
from segmif_ros.network.segmif import SegMiF
from segmif_ros.network.variants import build
from segmif_ros.training.encoder_init import EncoderError, load_encoder

SMALL = EncoderShape((8, 16, 16, 16), (1, 2, 2, 2), (2, 1, 1, 1))
State = dict[str, Tensor]


def cascade(shape: EncoderShape = SMALL) -> SegMiF:
    return SegMiF(shape, 15, channels=16, growth=4, head_width=16)


def original(shape: EncoderShape = SMALL) -> State:
    """A checkpoint as the authors of SegFormer store it, every tensor random."""
    state: State = {}
    inputs = (3, *shape.dims[:3])
    for i, dim in enumerate(shape.dims):
        kernel = 7 if i == 0 else 3
        state[f"patch_embed{i + 1}.proj.weight"] = torch.randn(dim, inputs[i], kernel, kernel)
        vectors = (
            "patch_embed{}.proj.bias",
            "patch_embed{}.norm.weight",
            "patch_embed{}.norm.bias",
        )
        for name in (each.format(i + 1) for each in (*vectors, "norm{}.weight", "norm{}.bias")):
            state[name] = torch.randn(dim)
        for j in range(shape.depths[i]):
            block, hidden = f"block{i + 1}.{j}.", dim * shape.mlp_ratio
            sizes = {
                "norm1": (dim,), "norm2": (dim,), "attn.q": (dim, dim), "attn.kv": (2 * dim, dim),
                "attn.proj": (dim, dim), "mlp.fc1": (hidden, dim), "mlp.fc2": (dim, hidden),
                "mlp.dwconv.dwconv": (hidden, 1, 3, 3),
            }  # fmt: skip
            if shape.reductions[i] > 1:
                side = shape.reductions[i]
                sizes |= {"attn.sr": (dim, dim, side, side), "attn.norm": (dim,)}
            for name, size in sizes.items():
                state[f"{block}{name}.weight"] = torch.randn(size)
                state[f"{block}{name}.bias"] = torch.randn(size[0])
    return state


def transformers(state: State) -> State:
    """The same weights as Hugging Face's SegformerForSemanticSegmentation stores them."""
    renamed: State = {}
    for key, value in state.items():
        part, *rest = key.split(".")
        place, tail = int(part[-1]) - 1, ".".join(rest)
        if part.startswith("patch_embed"):
            name = f"patch_embeddings.{place}.{tail.replace('norm', 'layer_norm')}"
        elif part.startswith("norm"):
            name = f"layer_norm.{place}.{tail}"
        else:
            block, _, inner = tail.partition(".")
            for old, new in (
                ("norm1", "layer_norm_1"), ("norm2", "layer_norm_2"),
                ("attn.q", "attention.self.query"), ("attn.kv", "attention.self.kv"),
                ("attn.sr", "attention.self.sr"), ("attn.norm", "attention.self.layer_norm"),
                ("attn.proj", "attention.output.dense"),
                ("mlp.fc1", "mlp.dense1"), ("mlp.fc2", "mlp.dense2"),
            ):  # fmt: skip
                if inner.startswith(old):
                    inner = new + inner[len(old) :]
                    break
            name = f"block.{place}.{block}.{inner}"
        if ".kv." in name:
            for half, tensor in zip(("key", "value"), value.chunk(2), strict=True):
                renamed["segformer.encoder." + name.replace("kv", half)] = tensor.clone()
        else:
            renamed["segformer.encoder." + name] = value
    return renamed


@pytest.mark.parametrize("wrap", ["bare", "mmseg", "hugging face", "base model"])
def test_every_tensor_is_taken_whatever_the_layout(tmp_path: Path, wrap: str) -> None:
    state = original()
    saved: dict[str, object] = {**state, "head.weight": torch.zeros(1000, 16)}
    layout = "original"
    if wrap == "mmseg":
        saved = {"meta": {"epoch": 3}, "state_dict": {f"backbone.{k}": v for k, v in state.items()}}
    elif wrap in ("hugging face", "base model"):
        layout, saved = "Hugging Face", {**transformers(state)}
        saved["decode_head.classifier.weight"] = torch.zeros(150, 16, 1, 1)
        if wrap == "base model":
            saved = {k.removeprefix("segformer."): v for k, v in saved.items()}
    torch.save(saved, tmp_path / "mit.pth")
    network = cascade()
    report = load_encoder(network, tmp_path / "mit.pth")
    own = network.encoder.state_dict()
    assert (report.layout, report.taken) == (layout, len(own))
    assert torch.equal(own["patch_embeds.0.proj.weight"], state["patch_embed1.proj.weight"])
    assert torch.equal(own["stages.0.1.attn.kv.weight"], state["block1.1.attn.kv.weight"])
    assert torch.equal(own["stages.2.0.attn.norm.bias"], state["block3.0.attn.norm.bias"])
    assert torch.equal(own["stages.3.0.mlp.dwconv.bias"], state["block4.0.mlp.dwconv.dwconv.bias"])
    total = sum(float(value.double().sum()) for value in own.values())
    assert total == pytest.approx(sum(float(value.double().sum()) for value in state.values()))
    if wrap == "bare":
        assert report.left == ("head.weight",)
        assert "1 left (head.weight" in str(report)


@pytest.mark.parametrize("variant", ["b0", "b1", "b2", "paper-b3", "b4", "b5"])
def test_key_names_of_every_published_encoder_are_known(variant: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        network = build(variant, 15)
    assert isinstance(network.encoder, MixTransformer)
    wanted = set(original_names(network.encoder.shape))
    from segmif_ros.training.encoder_init import _names

    own = [name for each in network.encoder.state_dict() for name in _names(each, "original")]
    assert set(own) == wanted
    with pytest.raises(EncoderError, match="is missing or no file"):
        load_encoder(network, tmp_path / "absent.pth")


def original_names(shape: EncoderShape) -> list[str]:
    with torch.device("meta"):
        return list(original(shape))


def test_released_key_names_agree_with_the_reference(shared_reference: Path) -> None:
    listed = (shared_reference / "state_dict_mit_b1.txt").read_text().splitlines()
    rows = dict(line.split("\t") for line in listed if line.startswith("denoise_net.encoder."))
    with torch.device("meta"):
        state = original(EncoderShape())
    sizes = {key: "x".join(map(str, value.shape)) for key, value in state.items()}
    assert {key.removeprefix("denoise_net.encoder."): size for key, size in rows.items()} == sizes


def test_an_encoder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mit.pth"
    torch.save(original(), path)
    deep = EncoderShape(SMALL.dims, SMALL.heads, (3, 1, 1, 1))
    with pytest.raises(EncoderError, match=r"'block1\.2\..*' is missing.*smaller"):
        load_encoder(cascade(deep), path)
    shallow = EncoderShape(SMALL.dims, SMALL.heads, (1, 1, 1, 1))
    with pytest.raises(EncoderError, match=r"'block1\.1\..*has no place.*deeper"):
        load_encoder(cascade(shallow), path)
    wide = EncoderShape((16, 16, 16, 16), SMALL.heads, SMALL.depths)
    with pytest.raises(EncoderError, match=r"has shape \(8, 3, 7, 7\).*needs \(16, 3, 7, 7\)"):
        load_encoder(cascade(wide), path)
    with pytest.raises(EncoderError, match="nano has its own"):
        load_encoder(build("nano", 15), path)
    torch.save({"fc.weight": torch.zeros(2)}, path)
    with pytest.raises(EncoderError, match=r"holds no MiT encoder.*first key is 'fc\.weight'"):
        load_encoder(cascade(), path)


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"patch_embed1.proj.weight": Evil()}, protocol=2))
    with pytest.raises(EncoderError, match="cannot be read as plain weights"):
        load_encoder(cascade(), path)
    assert not (tmp_path / "ran").exists()
