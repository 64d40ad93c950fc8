# SPDX-License-Identifier: Apache-2.0
"""A model on disk: a folder with one ONNX file and a manifest that says everything about it.

Models are data. The manifest's sha256 is compared before any runtime sees the file, the file must
lie inside the bundle, and an ONNX that keeps weights in other files is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
FORMAT = 1


class BundleError(ValueError):
    """A bundle is missing, damaged or not what its manifest says."""


@dataclass(frozen=True, slots=True)
class LabelClass:
    """One class: mask id, name, and colour as R, G, B (0-255)."""

    id: int
    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts about a model that its users need and code must not guess.

    Attributes:
        name: model name, for example "segmif-nano".
        model: file name of the ONNX inside the bundle.
        sha256: hex digest of that file.
        size: input (height, width) in pixels.
        classes: the label classes in id order.
        variant: row of `network.variants.VARIANTS` the weights belong to.
        precision: "fp32" or "mixed-fp16".
        switches: behaviour choices baked into the graph (visible input, guidance, ...).
        provenance: how the weights came to be: data, recipe, seed, date.
        licence: licence of the weights and what the training data allows.
    """

    name: str
    model: str
    sha256: str
    size: tuple[int, int]
    classes: tuple[LabelClass, ...]
    variant: str = ""
    precision: str = "fp32"
    switches: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""

    def to_json(self) -> str:
        """Return the text of manifest.json."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: `model_path` exists, has the manifest's digest and needs no other file."""

    path: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        """Full path of the ONNX file."""
        return self.path / self.manifest.model

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read and verify a bundle folder.

        Raises:
            BundleError: with the offending value and what to do about it.
        """
        folder = Path(path)
        manifest_path = folder / MANIFEST
        if not manifest_path.is_file():
            raise BundleError(
                f"no {MANIFEST} in {str(folder)!r}; give the folder of a model bundle, for example "
                "models/segmif-nano, or make one with `segmif export`"
            )
        manifest = parse_manifest(manifest_path)
        bundle = cls(folder, manifest)
        _verify_model(bundle)
        return bundle


def parse_manifest(path: Path) -> Manifest:
    """Read one manifest.json.

    Raises:
        BundleError: not JSON, another format number, or a field missing or of the wrong type.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as err:
        raise BundleError(f"{path}: not a readable JSON manifest ({err})") from err
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise BundleError(f"{path}: manifest format {found!r}, expected {FORMAT}; export it again")
    try:
        height, width = (int(v) for v in raw["size"])
        manifest = Manifest(
            name=str(raw["name"]),
            model=str(raw["model"]),
            sha256=str(raw["sha256"]),
            size=(height, width),
            classes=tuple(_parse_class(entry) for entry in raw["classes"]),
            variant=str(raw.get("variant", "")),
            precision=str(raw.get("precision", "fp32")),
            switches=dict(raw.get("switches", {})),
            provenance=dict(raw.get("provenance", {})),
            licence=str(raw.get("licence", "")),
        )
    except (KeyError, TypeError, ValueError) as err:
        raise BundleError(f"{path}: field {err} is missing or malformed; export it again") from err
    ids = [label.id for label in manifest.classes]
    if ids != list(range(len(ids))):
        raise BundleError(f"{path}: class ids {ids} must be 0, 1, 2, ... in this order")
    return manifest


def _parse_class(entry: Mapping[str, Any]) -> LabelClass:
    red, green, blue = (int(v) for v in entry["color"])
    if not all(0 <= v <= 255 for v in (red, green, blue)):
        raise ValueError(f"color {entry['color']}")
    return LabelClass(int(entry["id"]), str(entry["name"]), (red, green, blue))


def _verify_model(bundle: Bundle) -> None:
    manifest, folder = bundle.manifest, bundle.path.resolve()
    model = (folder / manifest.model).resolve()
    if not model.is_relative_to(folder) or Path(manifest.model).name != manifest.model:
        raise BundleError(
            f"{bundle.path}: model {manifest.model!r} points outside the bundle; "
            "a bundle must hold its own ONNX file"
        )
    if not model.is_file():
        raise BundleError(f"{bundle.path}: model file {manifest.model!r} is missing; copy it again")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    if digest != manifest.sha256:
        raise BundleError(
            f"{model}: sha256 is {digest[:12]}..., the manifest says {manifest.sha256[:12]}...; "
            "the file is damaged or was replaced: copy the bundle again or export it again"
        )
    outside = external_data(model)
    if outside:
        raise BundleError(
            f"{model}: weights lie in another file ({outside[0]!r}); "
            "a bundle must be self-contained: export with the weights inside"
        )


def external_data(model: Path) -> list[str]:
    """Return the files outside `model` that its tensors refer to.

    Raises:
        BundleError: the file is no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    try:
        proto = onnx.load(str(model), load_external_data=False)
    except DecodeError as err:
        raise BundleError(f"{model}: not an ONNX file ({err}); export it again") from err
    if not proto.graph.node:
        raise BundleError(f"{model}: an ONNX file without a graph; export it again")
    found = []
    for tensor in _get_all_tensors(proto):
        if uses_external_data(tensor):
            entries = {entry.key: entry.value for entry in tensor.external_data}
            found.append(entries.get("location", "?"))
    return found
