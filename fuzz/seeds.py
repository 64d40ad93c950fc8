# SPDX-License-Identifier: Apache-2.0
"""`python -m fuzz.seeds`: write the seeds of the corpora again (found inputs are left alone)."""

from __future__ import annotations

import io
import json
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

from fuzz.messages import (
    BIG,
    CLOUD_FIELD,
    CLOUD_HEAD,
    FITTING,
    FORMATS,
    IMAGE_HEAD,
    INFO_HEAD,
    NAMES,
    RIG,
    THERMAL,
    WHOLE,
)
from segmif_ros.recordings.clips import StampedImage
from segmif_ros.recordings.writer import image_message, new_bag
from segmif_ros.registration.calibration import Calibration
from segmif_ros.registration.calibration_file import calibration_yaml
from segmif_ros.share import share_path

CORPUS = Path(__file__).parent / "corpus"
START_NS = 1_700_000_000_000_000_000
Seeds = Iterator[tuple[str, bytes]]


def image() -> Seeds:
    """One message of every encoding, and one of a wrong length."""
    pixels = bytes(range(0, 240, 5))
    for index in range(len(NAMES)):
        for stream in (0, THERMAL):
            head = IMAGE_HEAD.pack(index, FITTING | WHOLE | stream | BIG * (index % 2), 4, 6, index)
            yield f"seed-{index}-{stream}", head + pixels
    yield "seed-short", IMAGE_HEAD.pack(0, 0, 4, 6, 6) + pixels[:20]


def compressed() -> Seeds:
    """JPEG and PNG, colour, grey, 16 bits and palette; progressive, and with bytes behind."""
    ramp = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    deep = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    pictures = {
        "jpeg": bytes(cv2.imencode(".jpg", ramp)[1]),
        "progressive": bytes(cv2.imencode(".jpg", ramp, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1]),
        "grey": bytes(cv2.imencode(".jpg", ramp[..., 0])[1]),
        "png": bytes(cv2.imencode(".png", ramp)[1]),
        "alpha": bytes(cv2.imencode(".png", np.dstack([ramp, ramp[..., :1]]))[1]),
        "deep": bytes(cv2.imencode(".png", deep)[1]),
        "behind": bytes(cv2.imencode(".jpg", ramp)[1]) + bytes(40),
    }
    for index, (name, content) in enumerate(pictures.items()):
        for stream in (0, 1):
            yield f"seed-{name}-{stream}", bytes([index % len(FORMATS), stream]) + content


def cloud() -> Seeds:
    """Little and big endian, float and double, organised, with padding."""
    for big in (0, BIG):
        for kind, size in ((7, 4), (8, 8)):
            fields = [CLOUD_FIELD.pack(i, i * size, kind, 1) for i in range(3)]
            head = CLOUD_HEAD.pack(2, 3, 3 * size + 1, 4, FITTING | WHOLE | big, 3)
            order = "><"[not big] + ("f" if kind == 7 else "d")
            numbers = b"".join(struct.pack(order, v) for v in (1.0, -2.5, float("nan"), 1e30))
            yield f"seed-{kind}-{big}", head + b"".join(fields) + numbers


def camera_info() -> Seeds:
    """The calibrated camera, a fisheye, one that is binned, one that was never calibrated."""
    matrix = RIG.rgb.matrix.ravel()
    projection = np.array([560.0, 0, 320, 0, 0, 560, 240, 0, 0, 0, 1, 0])
    numbers = np.concatenate([matrix, projection, RIG.rgb.coefficients]).astype("<f8").tobytes()
    for name, head in {
        "same": (480, 640, 1, 5, 0, 0, FITTING),
        "plain": (480, 640, 1, 5, 0, 0, 0),
        "thermal": (480, 640, 1, 5, 0, 0, THERMAL),
        "fisheye": (480, 640, 0, 4, 0, 0, 0),
        "binned": (480, 640, 1, 5, 5, 0, 0),
        "roi": (480, 640, 1, 5, 0, 7, 0),
    }.items():
        yield f"seed-{name}", INFO_HEAD.pack(*head) + numbers
    yield "seed-zero", INFO_HEAD.pack(480, 640, 2, 5, 0, 0, 0)


def manifest() -> Seeds:
    """That of the model that ships."""
    yield "seed-nano", share_path("models", "segmif-nano", "manifest.json").read_bytes()


def calibration() -> Seeds:
    """A homography and a rig, as we write them, and as people do."""
    plain = Calibration((480, 640), (256, 320), np.diag([2.0, 1.9, 1.0]), "board")
    yield "seed-homography", calibration_yaml(plain).encode()
    yield "seed-rig", calibration_yaml(RIG).encode()
    flat = {"rgb": {"width": 640, "height": 480}, "thermal": {"width": 320, "height": 256},
            "homography": [[2.0, 0, 0], [0, 2, 0], [0, 0, 1]]}  # fmt: skip
    yield "seed-flat", yaml.safe_dump(flat).encode()


def recipe() -> Seeds:
    """The recipes that ship."""
    for path in sorted(share_path("config", "training").glob("*.yaml")):
        yield f"seed-{path.stem}", path.read_bytes()


def parameters() -> Seeds:
    """A short parameter file in both notations."""
    values = {"tolerance_ms": 20.0, "engine": "auto", "lazy": True, "cpu_affinity": "0,1"}
    for name, node in (("full", "/segmif"), ("stars", "/**")):
        content = {node: {"ros__parameters": values}}
        yield f"seed-{name}", yaml.safe_dump(content).encode()


def classes() -> Seeds:
    """The class lists that ship."""
    for path in sorted(share_path("config", "labels").glob("*.yaml")):
        yield f"seed-{path.stem}", path.read_bytes()


def label_png() -> Seeds:
    """Ids, colours, and a palette."""
    ids = (np.arange(64, dtype=np.uint8) % 15).reshape(8, 8)
    yield "seed-ids", bytes(cv2.imencode(".png", ids)[1])
    yield "seed-colour", bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1])
    yield "seed-deep", bytes(cv2.imencode(".png", ids.astype(np.uint16))[1])


def labels() -> Seeds:
    """As the node publishes it."""
    told = {"model": "a", "unlabelled": 255,
            "classes": [{"id": 0, "name": "b", "color": [1, 2, 3]}]}  # fmt: skip
    yield "seed-one", json.dumps(told).encode()


def report() -> Seeds:
    """A whole report."""
    sys.path.append(str(CORPUS.parents[1] / "test" / "helpers"))
    import made_report

    yield "seed-made", json.dumps(made_report.made_report(rows=3)).encode()


def checkpoint() -> Seeds:
    """Bare and wrapped weights, half precision, and the format of old versions."""
    weights = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
    for name, content, zipped in (
        ("bare", weights, True),
        ("wrapped", {"state_dict": {f"module.{k}": v for k, v in weights.items()}}, True),
        ("half", {k: v.half() for k, v in weights.items()}, True),
        ("old", weights, False),
    ):
        out = io.BytesIO()
        torch.save(content, out, _use_new_zipfile_serialization=zipped)
        yield f"seed-{name}", out.getvalue()


def _bag(storage: str, *, compress: bool = False) -> tuple[bytes, bytes]:
    """Return the file and metadata.yaml of a bag of three pairs."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "bag")
        with new_bag(out, storage=storage, compress=compress) as writer:
            for index in range(3):
                for camera, channels in (("rgb", (6, 8, 3)), ("thermal", (6, 8))):
                    pixels = np.full(channels, 40 * index, np.uint8)
                    item = StampedImage(camera, index * 33_000_000, pixels)
                    stamp_ns = START_NS + item.time_ns
                    writer.write_message(
                        f"/{camera}/image_raw", stamp_ns, image_message(pixels, stamp_ns, camera)
                    )
        (file,) = [path for path in out.iterdir() if path.suffix != ".yaml"]
        return file.read_bytes(), (out / "metadata.yaml").read_bytes()


def mcap() -> Seeds:
    """Plain and packed, and one that was cut off."""
    plain = _bag("mcap")[0]
    yield "seed-plain", plain
    yield "seed-packed", _bag("mcap", compress=True)[0]
    yield "seed-cut", plain[: len(plain) * 2 // 3]


def db3() -> Seeds:
    """A whole one."""
    yield "seed-plain", _bag("sqlite3")[0]


def metadata() -> Seeds:
    """That of the plain mcap."""
    yield "seed-plain", _bag("mcap")[1].replace(b"bag.mcap", b"bag_0.mcap")


def main() -> None:
    """Write them all."""
    for make in (image, compressed, cloud, camera_info, manifest, calibration, recipe, parameters,
                 classes, label_png, labels, report, checkpoint, mcap, db3, metadata):  # fmt: skip
        folder = CORPUS / make.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("seed-*"):
            old.unlink()
        for name, content in make():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
