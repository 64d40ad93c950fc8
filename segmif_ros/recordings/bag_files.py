# SPDX-License-Identifier: Apache-2.0
"""Finds the files of a bag. Existing files take precedence over the list in metadata.yaml.

rosbag2 writes metadata.yaml last, `ros2 bag reindex` rewrites it, and people edit it, rename files
and unpack them: none of that makes the recording unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import Any

import zstandard

from segmif_ros.documents import DocumentError, read_yaml
from segmif_ros.files import open_file, require_file
from segmif_ros.recordings.mcap_file import McapFile
from segmif_ros.recordings.sqlite_file import SqliteFile
from segmif_ros.recordings.storage import BagError, Storage

METADATA = "metadata.yaml"
_SUFFIX = re.compile(r"\.(mcap|db3)(\.zstd)?$")
_NUMBER = re.compile(r"_(\d+)\.(mcap|db3)(\.zstd)?$")
_LARGEST_METADATA = 16 << 20
_ROOT, _FILES = "rosbag2_bagfile_information", "relative_file_paths"
_PACKED = ".zstd"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class BagFiles:
    """The files of a bag.

    Attributes:
        paths: in the order of recording, at least one.
        notes: deviations that do not affect reading.
        missing: files that metadata.yaml names and that cannot be read.
        counted: messages that metadata.yaml counts, None if it has no count.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    missing: str = ""
    counted: int | None = None


def is_bag(path: Path) -> bool:
    """True if names and files are those of a bag; also for one that was never completed."""
    if path.is_dir():
        if (path / METADATA).is_file():
            return True
        data = _data_files(path)
        if len(data) == 1:
            return data[0].name.startswith(path.name)
        return bool(data) and {_NUMBER.sub("", file.name) for file in data} == {path.name}
    return _SUFFIX.search(path.name) is not None or path.suffix == ".bag"


def find_files(path: Path) -> BagFiles:
    """Find the files of a bag folder; a single file is a bag too.

    Raises:
        BagError: no such path, a recording of ROS 1, or no files of a bag.
    """
    if not path.exists():
        raise BagError(f"bag {str(path)!r} does not exist; check the path")
    if path.is_dir():
        return _folder(path)
    _check_format(path)
    try:
        require_file(path)
    except OSError as err:
        raise BagError(f"bag {err}") from err
    return BagFiles((path,))


def open_storage(path: Path, scratch: list[TemporaryDirectory[str]]) -> Storage:
    """Open one file of a bag; decompress it first if necessary.

    Args:
        path: .mcap or .db3, or one of them followed by .zstd.
        scratch: receives the folder of the unpacked copy, for the caller to remove.

    Raises:
        BagError: its format differs from its name, or nothing in it can be read.
    """
    try:
        found, damage = path, ""
        if path.suffix == _PACKED:
            folder = TemporaryDirectory(prefix="segmif-bag-")
            scratch.append(folder)
            found = Path(folder.name, path.stem)
            damage = _unpack(path, found)
            if not found.stat().st_size:
                raise BagError(f"{path.name} cannot be unpacked: it is empty, cut off or damaged")
        storage: Storage
        if found.suffix == ".mcap":
            storage = McapFile(found, path.name)
        else:
            storage = SqliteFile(found, path.name)
    except OSError as err:
        raise BagError(f"{path}: {err.strerror or err}; check permissions and free space") from err
    if damage:
        storage.damage.append(damage)
    return storage


def _unpack(path: Path, out: Path) -> str:
    """Decompress as far as possible; return the error that ended it."""
    try:
        with open_file(path) as packed, out.open("wb") as plain:
            reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
            while block := reader.read(_BLOCK):
                plain.write(block)
    except zstandard.ZstdError as err:
        return f"{path.name} cannot be unpacked to its end: {err}"
    return ""


def _check_format(path: Path) -> None:
    if path.suffix == ".bag":
        raise BagError(
            f"{path} is a recording of ROS 1; convert it with `rosbags-convert --src {path.name} "
            f"--dst {path.stem}` (it comes with the rosbags package)"
        )
    if not _SUFFIX.search(path.name):
        raise BagError(
            f"{path} is no bag file: expected a name ending in .mcap, .db3, .mcap.zstd or .db3.zstd"
        )


def _data_files(folder: Path) -> list[Path]:
    """Return the bag files of a folder, sorted by number."""

    def order(path: Path) -> tuple[int, str]:
        number = _NUMBER.search(path.name)
        return (int(number[1]) if number else 0), path.name

    files = [f for f in folder.iterdir() if _SUFFIX.search(f.name) and not f.name.startswith(".")]
    return sorted((f for f in files if f.is_file()), key=order)


def _folder(path: Path) -> BagFiles:
    present = _data_files(path)
    if not (path / METADATA).is_file():
        return _without_metadata(path, present)
    try:
        information = _metadata(path / METADATA)
    except DocumentError as err:
        if not present:
            raise BagError(
                f"{path / METADATA} cannot be read ({err}), and no bag file is there"
            ) from err
        note = f"{METADATA} cannot be read ({err}); the {len(present)} files beside it are"
        return BagFiles(tuple(present), (note,))
    named = information[_FILES]
    for name in named:
        _check_format(path / name)
    return _named_files(path, present, named, information.get("message_count"))


def _named_files(
    path: Path, present: Sequence[Path], named: Sequence[str], counted: Any
) -> BagFiles:
    by_name = {file.name: file for file in present}
    found: dict[str, Path] = {}
    notes = []
    for name in named:
        other = name.removesuffix(_PACKED) if name.endswith(_PACKED) else name + _PACKED
        if name in by_name:
            found[name] = by_name[name]
        elif other in by_name:
            found[name] = by_name[other]
            notes.append(f"{METADATA} names {name}; {other} is there and was taken for it")
    left = [file for file in present if file not in found.values()]
    lost = [name for name in named if name not in found]
    if lost and len(left) == len(lost):
        for name, file in zip(lost, left, strict=True):
            found[name] = file
            notes.append(f"{METADATA} names {name}; {file.name} is there and was taken for it")
        left, lost = [], []
    if not found:
        held = ", ".join(file.name for file in left) or "no bag file"
        raise BagError(
            f"{METADATA} in {path} names {', '.join(lost) or 'no file'}, and the folder holds "
            f"{held}; copy the missing file into it"
        )
    if left:
        notes.append(
            f"{METADATA} does not name {', '.join(f.name for f in left)}; left out, open it by "
            "itself to see it"
        )
    missing = (
        f"{', '.join(lost)} named in {METADATA} is not in {path}: what it holds is missing; copy "
        "it there too"
        if lost
        else ""
    )
    whole = counted if isinstance(counted, int) and not lost else None
    return BagFiles(
        tuple(found[name] for name in named if name in found), tuple(notes), missing, whole
    )


def _without_metadata(path: Path, present: Sequence[Path]) -> BagFiles:
    stems = {
        _NUMBER.sub("", file.name) if _NUMBER.search(file.name) else file.name for file in present
    }
    if len(stems) == 1:
        note = f"no {METADATA} (the recorder was killed, or it was not copied)"
        return BagFiles(tuple(present), (note,))
    inside = sorted(file.name for file in path.iterdir())
    shown = ", ".join(inside[:4]) + (", ..." if len(inside) > 4 else "") or "nothing"
    step = (
        f"several recordings: open one of them ({present[0]})"
        if present
        else "give the folder that `ros2 bag record` or `segmif bag make` wrote"
    )
    raise BagError(f"{str(path)!r} has no {METADATA} (it holds {shown}); {step}")


def _metadata(path: Path) -> dict[str, Any]:
    document = read_yaml(path, _LARGEST_METADATA)
    information = document.get(_ROOT) if isinstance(document, dict) else None
    information = information if isinstance(information, dict) else {}
    names = information.get(_FILES)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DocumentError(f"no list of names {_FILES} in {_ROOT}")
    return {**information, _FILES: [_basename(name) for name in names]}


def _basename(name: str) -> str:
    """Return a name without its folders, so that no path leads out of the bag."""
    text = PurePosixPath(PureWindowsPath(name).as_posix()).name
    if not text:
        raise DocumentError(f"{_FILES} holds {name!r}")
    return text


def is_only_a_bag(path: Path) -> bool:
    """True for a folder with only the files of a bag, which may be replaced."""
    if path.is_symlink() or not path.is_dir():
        return False
    names = [file.name for file in path.iterdir() if file.is_file() and not file.is_symlink()]
    whole = len(names) == sum(1 for _ in path.iterdir())
    return whole and all(name == METADATA or _SUFFIX.search(name) for name in names)
