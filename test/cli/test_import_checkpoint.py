# SPDX-License-Identifier: Apache-2.0
"""`segmif import-checkpoint`, from files on disk to bundles that run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from released_checkpoint import network, states

from segmif_ros.bundle import Bundle
from segmif_ros.cli.import_checkpoint import _classes, _places
from segmif_ros.cli.main import main
from segmif_ros.engines import onnxruntime as engine
from segmif_ros.network.segmif import SegMiF


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made() -> SegMiF:
    return network("b0")


@pytest.fixture(scope="module")
def files(made: SegMiF, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("released")
    for name, state in zip(("fusion", "segmentation"), states(made), strict=True):
        torch.save(state, folder / f"{name}.pth")
    return [
        "--fusion",
        str(folder / "fusion.pth"),
        "--segmentation",
        str(folder / "segmentation.pth"),
    ]


def test_both_bundles_run_and_give_the_networks_picture(
    made: SegMiF, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "paper"
    code = main(["import-checkpoint", *files, "--size", "100x72", "--out", str(out)])
    assert code == 0, capsys.readouterr().err
    ramp = np.linspace(0, 255, 100).astype(np.uint8)
    rgb = np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (72, 100, 3)))
    thermal = np.ascontiguousarray(np.broadcast_to(ramp[::-1], (72, 100)))
    with torch.no_grad():
        plain = made(
            torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255.0,
            torch.from_numpy(thermal)[None, None] / 255.0,
        )
    expected = (plain.rgb[0].permute(1, 2, 0) * 255.0).round().numpy()
    sizes = []
    for folder, precision in ((out, "fp32"), (out.with_name("paper-fp16"), "mixed-fp16")):
        bundle = Bundle.load(folder)
        manifest = bundle.manifest
        assert (manifest.precision, manifest.size, len(manifest.classes)) == (
            precision,
            (72, 100),
            9,
        )
        assert manifest.switches == {
            "visible_input": "luma",
            "guidance": "saliency",
            "min_max_stretch": False,
            "eight_bit_hand_over": False,
            "attention": "sum",
        }
        assert manifest.provenance["backbone"] == "mit-b0"
        assert len(manifest.provenance["fusion_sha256"]) == 64
        result = engine.OnnxRuntimeEngine(bundle, threads=1).infer(rgb, thermal)
        assert np.abs(result.fused - expected).max() <= (1 if precision == "fp32" else 3)
        sizes.append(bundle.model_path.stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]
    assert manifest.classes[8].name == "bump"


def test_switches_reach_the_manifest_and_the_graph(files: list[str], tmp_path: Path) -> None:
    out = tmp_path / "scripts"
    options = [
        "--visible",
        "red",
        "--guidance",
        "supplied",
        "--min-max-stretch",
        "--eight-bit-hand-over",
    ]
    assert main(["import-checkpoint", *files, "--size", "64x64", *options, "--out", str(out)]) == 0
    bundle = Bundle.load(out)
    assert bundle.manifest.switches == {
        "visible_input": "red",
        "guidance": "supplied",
        "min_max_stretch": True,
        "eight_bit_hand_over": True,
        "attention": "sum",
    }
    session = ort.InferenceSession(bundle.model_path.read_bytes())
    assert [i.name for i in session.get_inputs()] == ["rgb", "thermal", "guidance"]
    rng = np.random.default_rng(0)
    feed = {i.name: rng.integers(50, 99, i.shape, np.uint8) for i in session.get_inputs()}
    fused = session.run(["fused"], feed)[0]
    assert (int(fused.min()), int(fused.max())) == (0, 255)
    feed["guidance"] = 255 - feed["guidance"]
    assert not np.array_equal(session.run(["fused"], feed)[0], fused)


def test_one_size_goes_where_it_was_sent_and_several_beside_each_other() -> None:
    out = Path("models") / "m"
    assert _places([(64, 96)], out) == [((64, 96), out)]
    assert _places([(64, 64), (64, 96), (64, 64)], out) == [
        ((64, 64), Path("models") / "m-64x64"),
        ((64, 96), Path("models") / "m-96x64"),
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("fmb15", "has 15 classes, the checkpoint 9; give --classes mfnet9"),
        ("voc21", "'config/labels/voc21.yaml' is not part of this installation"),
        ("/nowhere/mine.yaml", "/nowhere/mine.yaml"),
    ],
)
def test_a_class_list_that_does_not_fit_is_refused_in_one_line(
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    labels: str,
    message: str,
) -> None:
    out = tmp_path / "m"
    assert main(["import-checkpoint", *files, "--classes", labels, "--out", str(out)]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "import-checkpoint:" in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert not out.exists()


def test_swapped_files_are_refused_in_one_line(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped = [files[0], files[3], files[2], files[1]]
    assert main(["import-checkpoint", *swapped, "--out", str(tmp_path / "m")]) == 1
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("segmif import-checkpoint: SEG-E405 the two files are swapped")
    )


def test_a_class_list_of_ones_own(tmp_path: Path) -> None:
    listing = tmp_path / "mine.yaml"
    listing.write_text(
        "classes:\n" + "".join(f"- {{id: {i}, name: c{i}, color: [{i}, 0, 0]}}\n" for i in range(4))
    )
    assert [c.name for c in _classes(str(listing), 4)] == ["c0", "c1", "c2", "c3"]
    listing.write_text("classes: [1, 2]")
    with pytest.raises(ValueError, match="is no class list"):
        _classes(str(listing), 2)


def test_the_class_list_follows_from_the_count_where_it_is_known() -> None:
    assert _classes(None, 9)[1].name == "car"
    assert _classes(None, 15)[1].name == "road"
    with pytest.raises(ValueError, match=r"has 4 classes .* give a class list with --classes"):
        _classes(None, 4)
