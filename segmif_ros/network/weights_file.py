# SPDX-License-Identifier: Apache-2.0
"""Reads files of `torch.save` without executing code, with a check of sizes in headers."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segmif_ros.files import open_file

_WRAPPERS = re.compile(r"(^|\.)(?:_orig_mod\.)+")
_PARALLEL = re.compile(r"^(?:module\.)+")
_NESTED = ("state_dict", "model_state_dict", "model")
_FOREIGN = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file; run `git lfs pull` there"),
    (b"<", "is a web page or XML; the download was answered with that: get it again in a browser"),
    (b"{", "is JSON, an index or a server's error page; get the file with the weights itself"),
)
"""First bytes of files that are often mistaken for weights, and the cause."""


class WeightsFileError(ValueError):
    """A file without usable weights; the message names it."""


def load_stored(path: Path) -> Any:
    """Load a file of `torch.save`: containers, numbers, text and tensors, on the CPU.

    Raises:
        WeightsFileError: missing, truncated, of another format, compressed, or with code in it.
    """
    try:
        with open_file(path) as stream:
            start = stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
        size = path.stat().st_size
    except OSError as err:
        raise WeightsFileError(f"{path} is missing or no file that can be read ({err})") from err
    if not size:
        raise WeightsFileError(f"{path} is empty; copy it again")
    for beginning, what in _FOREIGN:
        if start.startswith(beginning):
            raise WeightsFileError(f"{path} {what}")
    try:
        _refuse_packed(path, size)
        return torch.load(path, map_location="cpu", weights_only=True)
    except WeightsFileError:
        raise
    except Exception as err:  # zip, pickle, key and index errors alike, depending on the damage
        code = re.search(r"GLOBAL ([\w.]+)", str(err))
        why = f"it calls {code[1]}" if code else f"{type(err).__name__}: cut short or damaged"
        raise WeightsFileError(
            f"{path} cannot be read as plain weights ({why}); expected a whole file of a state "
            "dict saved by torch.save; files that contain code are refused"
        ) from err


def _refuse_packed(path: Path, size: int) -> None:
    """Refuse a compressed archive; torch.save does not compress."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = sum(entry.file_size for entry in archive.infolist())
        if inside > size:
            raise WeightsFileError(f"{path} of {size} bytes says it holds {inside}")


def state_dict_of(stored: Any, path: Path) -> dict[str, Tensor]:
    """Return weights as float32 by plain names.

    Prefixes of torch.compile and data-parallel training are removed.

    Args:
        stored: from `load_stored`; a state dict, or a mapping with one in it.
        path: for messages.

    Raises:
        WeightsFileError: anything but dense tensors that the file holds in full, or a number that
            is not finite.
    """
    for key in _NESTED:
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
    if not isinstance(stored, Mapping) or not stored:
        raise WeightsFileError(
            f"{path} holds {type(stored).__name__}, expected a state dict with weights; save "
            "model.state_dict() itself"
        )
    weights: dict[str, Tensor] = {}
    for key, value in stored.items():
        name = _PARALLEL.sub("", _WRAPPERS.sub(r"\1", _PARALLEL.sub("", str(key))))
        if name in weights:
            raise WeightsFileError(f"{path}: {key!r} comes twice, with and without a prefix")
        weights[name] = _plain(value, f"{path}: {key!r}")
    return weights


def _plain(value: Any, what: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise WeightsFileError(
            f"{what} is {type(value).__name__}, expected a tensor; save model.state_dict() itself"
        )
    if value.layout is not torch.strided or value.is_quantized or value.is_complex():
        raise WeightsFileError(f"{what} is {value.layout} {value.dtype}, expected a dense tensor")
    if value.device.type != "cpu" or _bytes(value) > value.untyped_storage().nbytes():
        raise WeightsFileError(
            f"{what} of shape {tuple(value.shape)} has more values than the file holds"
        )
    value = value.float()
    if not torch.isfinite(value).all():
        raise WeightsFileError(f"{what} holds values that are not finite")
    return value


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()
