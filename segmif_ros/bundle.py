# SPDX-License-Identifier: Apache-2.0
"""A model on disk: a folder with an ONNX file and a manifest that describes it.

The same weights may lie there in further precisions, a file each; `Bundle.select` takes one.

Models are data. The manifest's sha256 is compared before any runtime opens the file, the file must
lie inside the bundle, and an ONNX that keeps weights in other files is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from segmif_ros.documents import DocumentError, conform, parse_json, read_json
from segmif_ros.frames import UNLABELLED
from segmif_ros.share import install_command, resolve_model

MANIFEST = "manifest.json"
FORMAT = 1
MAX_CLASSES = 255
"""Ids 0 to 254; 255 means unlabelled in every mask."""
REFERENCE = "reference"
"""Folder of a bundle with the pictures that engines are compared on."""

PRECISIONS = ("fp32", "fp16", "int8")
"""Precisions of model files. fp16 keeps what needs it in fp32; int8 has Q/DQ nodes."""
_PLAIN_NAME = re.compile(r"[\w .+-]{1,120}")
_LONGEST_SIDE = 16384

Text = Annotated[str, msgspec.Meta(min_length=1)]
Side = Annotated[int, msgspec.Meta(gt=0, le=_LONGEST_SIDE)]
Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
_OLDER_WORDS = {"mixed-fp16": "fp16"}


class BundleError(ValueError):
    """A bundle is missing, damaged or not what its manifest says."""


@dataclass(frozen=True, slots=True)
class LabelClass:
    """One class: mask id, name, and colour as R, G, B (0-255)."""

    id: Annotated[int, msgspec.Meta(ge=0)]
    name: Text
    color: tuple[Byte, Byte, Byte]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An ONNX file inside the bundle, the hex digest of its bytes, and how it was made."""

    file: Text
    sha256: Text
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", self.sha256.lower())


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts about a model that its users need and code must not assume.

    Attributes:
        name: model name, for example "segmif-nano".
        model: file name of the ONNX inside the bundle.
        sha256: hex digest of that file.
        size: input (height, width) in pixels.
        classes: the label classes in id order.
        variant: row of `network.variants.VARIANTS` the weights belong to.
        precision: of `model`, one of `PRECISIONS`; "mixed-fp16" is an older word for "fp16".
        switches: behaviour choices baked into the graph (visible input, guidance, ...).
        provenance: origin of the weights: data, recipe, seed, date.
        licence: licence of the weights and what the training data allows.
        models: the same weights in other precisions, a file each.
        gate: thresholds of the accuracy gate that differ from its defaults, by name.
        reference: pictures in `REFERENCE` that engines are compared on: file name -> sha256. Empty
            in a bundle without, or one whose pictures a user put there.
        temperatures: of the confidences in the graph, by the name of a class; 1 for the others. For
            people and reports: the graph has them already.
    """

    name: Text
    model: Text
    sha256: Text
    size: tuple[Side, Side]
    classes: tuple[LabelClass, ...]
    variant: str = ""
    precision: str = "fp32"
    switches: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    models: Mapping[str, ModelFile] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Text] = field(default_factory=dict)
    temperatures: Mapping[str, Annotated[float, msgspec.Meta(gt=0)]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", self.sha256.lower())
        for file in self.reference:
            if not _PLAIN_NAME.fullmatch(file) or Path(file).name != file:
                raise BundleError(
                    f"reference has {file!r}, expected names of files in {REFERENCE}/"
                )
        strange = sorted(self.models.keys() - set(PRECISIONS))
        if strange:
            raise BundleError(f"models has {strange[0]!r}, expected some of {PRECISIONS}")
        own = _OLDER_WORDS.get(self.precision, self.precision)
        if own in self.models:
            raise BundleError(
                f"models has {own!r}, which is the precision of {self.model!r} itself; one file "
                "for each precision"
            )
        ids = [label.id for label in self.classes]
        if not ids or ids != list(range(len(ids))) or len(ids) > MAX_CLASSES:
            raise BundleError(
                f"class ids {ids}, expected 0, 1, 2, ... in this order and at most {MAX_CLASSES}; "
                "correct the class list"
            )

    @property
    def files(self) -> dict[str, ModelFile]:
        """Every model file by its precision, `model` first."""
        own = _OLDER_WORDS.get(self.precision, self.precision)
        return {own: ModelFile(self.model, self.sha256), **self.models}

    def to_json(self) -> str:
        """Return the text of manifest.json; optional blocks that are empty are left out."""
        fields = {"format": FORMAT, **asdict(self)}
        for name in ("models", "gate", "reference", "temperatures"):
            if not fields[name]:
                del fields[name]
        return json.dumps(fields, indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: `model_path` exists, has the manifest's digest and needs no other file.

    >>> from segmif_ros import Bundle
    >>> bundle = Bundle.load("segmif-nano")
    >>> bundle.manifest.size, bundle.precisions
    ((480, 640), ('fp32',))
    >>> [label.name for label in bundle.manifest.classes][8:10]
    ['person', 'car']
    """

    path: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        """Full path of the ONNX file."""
        return self.path / self.manifest.model

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions there is a file for, that of `model_path` first."""
        return tuple(self.manifest.files)

    def select(self, precision: str) -> Bundle:
        """Return the same bundle with the file of another precision as its model, verified.

        Raises:
            BundleError: there is none, or it is damaged.
        """
        files = self.manifest.files
        if precision not in files:
            raise BundleError(
                f"{self.path} has no {precision!r} model, only {', '.join(files)}; make one with "
                f"`segmif quantise {self.path} --write-precision {precision}`"
            )
        if precision == self.precisions[0]:
            return self
        chosen = files.pop(precision)
        manifest = replace(
            self.manifest,
            model=chosen.file,
            sha256=chosen.sha256,
            precision=precision,
            models=files,
        )
        bundle = Bundle(self.path, manifest)
        _verify_model(bundle)
        return bundle

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read and verify a bundle.

        Args:
            path: its folder, or the name of one that ships with the package.

        Raises:
            BundleError: with the offending value and what to do about it.
        """
        try:
            folder = resolve_model(str(path))
        except FileNotFoundError:
            folder = Path(path)
        manifest_path = folder / MANIFEST
        if not manifest_path.is_file():
            raise BundleError(
                f"no {MANIFEST} in {str(folder)!r}; give the folder of a model bundle or the name "
                "of one that ships, for example segmif-nano, or make one with `segmif export`"
            )
        manifest = parse_manifest(manifest_path)
        bundle = cls(folder, manifest)
        _verify_model(bundle)
        return bundle


def parse_manifest(path: Path) -> Manifest:
    """Read one manifest.json.

    Raises:
        BundleError: not JSON, another format number, or a field unknown, missing or malformed.
    """
    try:
        raw = read_json(path)
    except DocumentError as err:
        raise BundleError(
            f"{path}: not a readable JSON manifest ({err}); copy the bundle again"
        ) from err
    found = raw.pop("format", None) if isinstance(raw, dict) else type(raw).__name__
    if found != FORMAT:
        raise BundleError(f"{path}: manifest format {found!r}, expected {FORMAT}; export it again")
    try:
        return conform(raw, Manifest)
    except DocumentError as err:
        raise BundleError(f"{path}: malformed manifest: {err}; export it again") from err


def _verify_model(bundle: Bundle) -> None:
    manifest, folder = bundle.manifest, bundle.path.resolve()
    plain = _PLAIN_NAME.fullmatch(manifest.model) is not None
    model = (folder / manifest.model).resolve() if plain else folder
    if model.parent != folder:
        raise BundleError(
            f"{bundle.path}: model {manifest.model!r} points outside the bundle; "
            "a bundle must hold its own ONNX file beside the manifest: export it again"
        )
    if not model.is_file():
        raise BundleError(f"{bundle.path}: model file {manifest.model!r} is missing; copy it again")
    try:
        content = model.read_bytes()
    except OSError as err:
        raise BundleError(f"{model}: cannot be read ({err}); copy the bundle again") from err
    digest = hashlib.sha256(content).hexdigest()
    if digest != manifest.sha256:
        raise BundleError(
            f"{model}: sha256 is {digest[:12]}..., the manifest says {manifest.sha256[:12]}...; "
            "the file is damaged or was replaced: copy the bundle again or export it again"
        )
    proto = _parsed(content, str(model))
    outside = list(_files_named(proto))
    if outside:
        raise BundleError(
            f"{model}: weights lie in another file ({outside[0]!r}); "
            "a bundle must be self-contained: export with the weights inside"
        )
    for tensor in proto.graph.initializer:
        if _holds_nan(tensor):
            raise BundleError(
                f"{model}: weights {tensor.name!r} hold NaN, so every picture would; the training "
                "diverged: export a checkpoint from before"
            )
        if f".{tensor.name}".endswith(".predict.bias") and len(tensor.dims) == 1:
            found = int(tensor.dims[0])
            if found != len(manifest.classes):
                raise BundleError(
                    f"{model}: the model has {found} classes, the manifest names "
                    f"{len(manifest.classes)}; correct the class list and export it again"
                )


def external_data(content: bytes, source: str) -> list[str]:
    """Return the files that an ONNX model refers to outside itself.

    Args:
        content: bytes of the model.
        source: name of the model in messages.

    Raises:
        BundleError: the bytes are no ONNX model, or the package onnx is missing.
    """
    return list(_files_named(_parsed(content, source)))


def _parsed(content: bytes, source: str) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as err:
        raise BundleError(
            f"{source}: cannot be checked without the Python package 'onnx' ({err}); "
            f"{install_command('cpu')}, or onnx for the Python that ROS uses"
        ) from err
    try:
        proto = onnx.load_model_from_string(content)
    except DecodeError as err:
        raise BundleError(f"{source}: not an ONNX file ({err}); export it again") from err
    if not proto.graph.node:
        raise BundleError(f"{source}: an ONNX file without a graph; export it again")
    return proto


def _holds_nan(tensor: Any) -> bool:
    """Check the values of a TensorProto of 16 or 32 bits."""
    kind = {tensor.FLOAT: np.float32, tensor.FLOAT16: np.float16}.get(tensor.data_type)
    if kind is None:
        return False
    whole = len(tensor.raw_data) // np.dtype(kind).itemsize
    values = np.frombuffer(tensor.raw_data, kind, whole)
    return bool(np.isnan(values).any() or np.isnan(tensor.float_data).any())


def _files_named(message: Any) -> Iterator[str]:
    """Every file that a part of an ONNX model names, however deep it lies.

    By the fields that are set and not by a list of places: tensors are found in attributes,
    functions and their defaults, nested graphs, training, and whatever a later ONNX adds.
    """
    kind = message.DESCRIPTOR.name
    if kind == "TensorProto":
        if message.external_data or message.data_location == message.EXTERNAL:
            entries = message.external_data
            yield next((each.value for each in entries if each.key == "location"), "?")
        return
    if kind == "NodeProto" and message.op_type == "EPContext":
        # ONNX Runtime's nodes that stand for a compiled file beside the model.
        yield f"what node {message.name!r} was compiled to"
    for part, value in message.ListFields():
        if part.message_type is not None:
            for each in (value,) if hasattr(value, "DESCRIPTOR") else value:
                yield from _files_named(each)


@dataclass(frozen=True, slots=True)
class _Labels:
    model: str
    classes: tuple[LabelClass, ...]


def labels_json(manifest: Manifest) -> str:
    """Return the class list of a model as JSON, for readers without vision_msgs."""
    return json.dumps(
        {
            "model": manifest.name,
            "unlabelled": UNLABELLED,
            "classes": [
                {"id": label.id, "name": label.name, "color": list(label.color)}
                for label in manifest.classes
            ],
        }
    )


def parse_labels(text: str) -> tuple[str, tuple[LabelClass, ...]]:
    """Return model name and classes out of what `labels_json` wrote.

    Raises:
        ValueError: it was not written by that.
    """
    try:
        told = conform(parse_json(text), _Labels, extra=True)
    except DocumentError as err:
        raise ValueError(f"not the labels of a model: {err}") from err
    return told.model, told.classes
