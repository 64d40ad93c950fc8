# SPDX-License-Identifier: Apache-2.0
"""Results as a bag beside the camera images: `ros2 bag play`, RViz and Foxglove show them.

The bag grows in a hidden folder and gets its name when it is whole, so what has the name is whole.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from segmif_ros import render
from segmif_ros.buffers import Buffers
from segmif_ros.bundle import Manifest
from segmif_ros.evaluation.kept_pictures import PairImages
from segmif_ros.frames import Image8
from segmif_ros.labels import labels_json
from segmif_ros.recordings.bags import IMAGE, BagError, BagMessage, message_types
from segmif_ros.recordings.raw_bag import RawBag

_STRING = "std_msgs/msg/String"
OUTPUT = "/segmif/output/"
"""Topics are named as those of a node that nobody renamed."""

LABELS = f"{OUTPUT}labels"
ENCODINGS = {"fused": "rgb8", "mask": "mono8", "confidence": "mono8", "overlay": "rgb8"}
"""Images that are written, and their encodings."""


class ResultBag:
    """A bag of results that is being written; use as a context manager.

    Leaving it by an exception removes what was written.
    """

    def __init__(
        self,
        out: Path,
        manifest: Manifest,
        *,
        inputs: bool = True,
        overlay_alpha: float = 0.5,
        replace: bool = False,
    ) -> None:
        """Prepare.

        Args:
            out: folder that the bag will be; its parent is made if missing.
            manifest: of the model.
            inputs: write the camera images too.
            overlay_alpha: weight of the class colours, 0 to 1.
            replace: take the place of a bag that an attempt before this one left there.

        Raises:
            BagError: `out` exists.
        """
        replaces = replace and (out / "metadata.yaml").is_file() and not out.is_symlink()
        if (out.exists() or out.is_symlink()) and not replaces:
            raise BagError(f"{str(out)!r} exists already; give --write-bag another name")
        self.out = out
        self._inputs = inputs
        self._alpha = overlay_alpha
        self._palette = render.palette(manifest.classes)
        self._labels = labels_json(manifest)
        self._buffers = Buffers()
        self._store = message_types()
        self._topics: set[str] = set()
        self._hidden: Path | None = None
        self._bag: RawBag

    def __enter__(self) -> ResultBag:
        """Begin the bag under a hidden name."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self._hidden = Path(tempfile.mkdtemp(prefix=f".{self.out.name}.", dir=self.out.parent))
        self._bag = RawBag(self._hidden / self.out.name, compress=True)
        self._bag.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the bag and give it its name, or remove it."""
        assert self._hidden is not None
        try:
            self._bag.__exit__(kind, value, trace)
            if kind is None and self._topics:
                if self.out.exists():
                    self.out.rename(self._hidden / "replaced")
                (self._hidden / self.out.name).rename(self.out)
        finally:
            shutil.rmtree(self._hidden, ignore_errors=True)

    def write(
        self,
        images: PairImages,
        stamp_ns: int,
        frame_id: str,
        messages: Sequence[BagMessage],
    ) -> None:
        """Append the results of one pair, filed under the recording time of its later image.

        Args:
            images: of the pair.
            stamp_ns: of the RGB image; all results carry it.
            frame_id: of the RGB image.
            messages: both camera images as they were in the bag.

        Raises:
            OSError: it cannot be written, for example because the disk is full.
        """
        time_ns = max(message.time_ns for message in messages)
        if not self._topics:
            self._append(LABELS, _STRING, time_ns, self._string(self._labels), latched=True)
        if self._inputs:
            for message in sorted(messages, key=lambda m: m.time_ns):
                self._append(message.topic, message.type, message.time_ns, message.cdr)
        over = render.overlay(images.fused, images.mask, self._palette, self._alpha, self._buffers)
        pictures = {**images._asdict(), "overlay": over}
        for name, encoding in ENCODINGS.items():
            cdr = self._image(pictures[name], encoding, stamp_ns, frame_id)
            self._append(f"{OUTPUT}{name}", IMAGE, time_ns, cdr)

    def _append(
        self, topic: str, kind: str, time_ns: int, cdr: bytes, *, latched: bool = False
    ) -> None:
        if topic not in self._topics:
            self._bag.add_topic(topic, kind, latched=latched)
            self._topics.add(topic)
        self._bag.write(topic, time_ns, cdr)

    def _image(self, image: Image8, encoding: str, stamp_ns: int, frame_id: str) -> bytes:
        types = self._store.types
        stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
        header = types["std_msgs/msg/Header"](stamp, frame_id)
        height, width = image.shape[:2]
        pixels = np.ascontiguousarray(image).reshape(-1)
        message = types[IMAGE](header, height, width, encoding, 0, len(pixels) // height, pixels)
        return bytes(self._store.serialize_cdr(message, IMAGE))

    def _string(self, text: str) -> bytes:
        return bytes(self._store.serialize_cdr(self._store.types[_STRING](text), _STRING))
