# SPDX-License-Identifier: Apache-2.0
"""Pairs of a bag or of the virtual rig as a folder of pictures, thermal values kept.

The layout is that of a data set folder: visible/, infrared/ and, where there are labels, labels/,
with equal names. pairs.csv lists what was written, with the stamps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segmif_ros.datasets.bag import BagReading, OpenedBag
from segmif_ros.datasets.rig import SEEDS
from segmif_ros.datasets.sample import DatasetError
from segmif_ros.frames import Image8, ThermalImage
from segmif_ros.images.pictures import encode_picture
from segmif_ros.outputs import OutputError, written_aside
from segmif_ros.recordings.bags import BagError
from segmif_ros.registration import Registration, RegistrationError

LIST = "pairs.csv"
_HEAD = "name,rgb_stamp_ns,thermal_stamp_ns,labels"


class RawPair(NamedTuple):
    """One pair as it is written.

    Attributes:
        name: of its files, without suffix.
        rgb: HxWx3 uint8.
        thermal: HxW uint8, uint16 or float32.
        labels: HxW uint8 ids, None without.
        stamps_ns: of both images; 0 where there is no time.
    """

    name: str
    rgb: Image8
    thermal: ThermalImage
    labels: Image8 | None
    stamps_ns: tuple[int, int] = (0, 0)


def bag_pairs(opened: OpenedBag, registered: bool, which: range) -> Iterator[RawPair]:
    """Yield pairs of a bag, named by their index.

    Args:
        opened: the bag, with its calibration.
        registered: warp thermal values onto the RGB image, 0 (NaN for floats) outside the thermal
            view; otherwise they are unchanged.
        which: indices of the pairs.

    Raises:
        DatasetError: an image cannot be read, or the calibration is for other sizes.
    """
    for index in which:
        try:
            pair = opened.pairs.read(index)
            rgb, thermal = pair.arrays()
            if registered:
                thermal = _registered(opened.registration, thermal, (rgb.shape[0], rgb.shape[1]))
            labels = opened.labels_at(index, (rgb.shape[0], rgb.shape[1]))
        except (BagError, RegistrationError) as err:
            raise DatasetError(f"pair {index}: {err}") from err
        stamps = (pair.stamp_ns, pair.thermal_stamp_ns)
        yield RawPair(f"{index:06d}", rgb, thermal, labels, stamps)


def rig_pairs(split: str, count: int, start: int = 0) -> Iterator[RawPair]:
    """Yield scenes of the virtual rig with 16-bit thermal counts and their true labels (FMB ids).

    Args:
        split: "train", "val" or "test".
        count: how many.
        start: the first one.
    """
    from segmif_ros.rig.draw.render import training_frame

    for seed in SEEDS[split][start : start + count]:
        frame = training_frame(seed)
        yield RawPair(f"rig-{seed}", frame.rgb, frame.thermal, frame.labels)


def extract_bag(
    bag: Path,
    out: Path,
    how: BagReading,
    which: slice = slice(None),
    *,
    force: bool = False,
    progress: Callable[[int, int], Any] = lambda _done, _of: None,
) -> tuple[int, list[str]]:
    """Write pairs of a bag as a folder.

    Args:
        bag: what to read.
        out: folder to make.
        how: topics, calibration and pairing.
        which: indices of the pairs; all by default.
        force: replace a folder that an earlier call wrote and that holds nothing else.
        progress: called with the number of pairs written and of all.

    Returns:
        How many pairs were written, and remarks for the user.

    Raises:
        DatasetError: the bag or a pair of it cannot be read.
        OutputError: `out` holds other files.
    """
    refuse_taken(out, force=force)
    with closing(OpenedBag(bag, how)) as opened:
        places = range(len(opened.pairs))[which]
        if not places:
            raise DatasetError(f"{bag} has {len(opened.pairs)} pairs; begin earlier")
        pairs = bag_pairs(opened, how.calibration is not None, places)
        written, notes = write_pairs(out, pairs, force=force, progress=progress, total=len(places))
        return written, [*opened.notes, *notes]


def write_pairs(
    out: Path,
    pairs: Iterable[RawPair],
    *,
    force: bool = False,
    progress: Callable[[int, int], Any] = lambda _done, _of: None,
    total: int = 0,
) -> tuple[int, list[str]]:
    """Write pairs as visible/, infrared/, labels/ and pairs.csv: the whole folder, or nothing.

    Returns:
        How many, and remarks for the user.

    Raises:
        OutputError: `out` holds other files.
        OSError: it cannot be written.
    """
    refuse_taken(out, force=force)
    out.parent.mkdir(parents=True, exist_ok=True)
    rows, sizes = [_HEAD], set()
    with written_aside(out) as part:
        for pair in pairs:
            _write(part / "visible" / f"{pair.name}.png", pair.rgb)
            suffix = "tiff" if pair.thermal.dtype == np.float32 else "png"
            _write(part / "infrared" / f"{pair.name}.{suffix}", pair.thermal)
            if pair.labels is not None:
                _write(part / "labels" / f"{pair.name}.png", pair.labels)
            rows.append(f"{pair.name},{pair.stamps_ns[0]},{pair.stamps_ns[1]},{_yes(pair.labels)}")
            sizes.add((pair.rgb.shape[1::-1], pair.thermal.shape[::-1]))
            progress(len(rows) - 1, total)
        (part / LIST).write_text("\n".join([*rows, ""]), encoding="utf-8")
    return len(rows) - 1, [
        f"thermal has {thermal[0]}x{thermal[1]} pixels and rgb {rgb[0]}x{rgb[1]}: not registered; "
        "to train on them extract again with --calibration"
        for rgb, thermal in sorted(sizes)
        if rgb != thermal
    ]


def refuse_taken(out: Path, *, force: bool) -> None:
    """Refuse an existing folder; with `force`, only one that holds other files.

    Raises:
        OutputError: with what to do.
    """
    if not out.exists() and not out.is_symlink():
        return
    if not force:
        raise OutputError(f"{out} exists; give another folder, or --force to replace it")
    listing = out / LIST
    rows = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    own = {LIST}
    for row in rows[1:]:
        name, _, _, labelled = row.split(",")
        own |= {f"visible/{name}.png", f"infrared/{name}.png", f"infrared/{name}.tiff"}
        own |= {f"labels/{name}.png"} if labelled == _yes(out) else set()
    there = {str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir()}
    if out.is_symlink() or rows[:1] != [_HEAD] or not there <= own:
        first = min(there - own, default=str(out))
        raise OutputError(f"{out} holds what was not written here ({first}); give another folder")


def _registered(
    registration: Registration, thermal: ThermalImage, size: tuple[int, int]
) -> ThermalImage:
    values = registration.values(thermal, size)
    if thermal.dtype == np.float32:
        return values
    return np.rint(np.nan_to_num(values, nan=0.0)).astype(thermal.dtype)


def _yes(labels: object) -> str:
    return "no" if labels is None else "yes"


def _write(path: Path, image: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_picture(image, path.suffix))
