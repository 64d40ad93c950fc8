# SPDX-License-Identifier: Apache-2.0
"""Results as a bag beside the camera images: `ros2 bag play`, RViz and Foxglove show them.

The bag grows in a hidden folder and gets its name when it is whole, so what has the name is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from segmif_ros import render
from segmif_ros.buffers import Buffers
from segmif_ros.bundle import Manifest, labels_json
from segmif_ros.evaluation.derived_messages import Named
from segmif_ros.evaluation.kept_pictures import PairImages
from segmif_ros.recordings.bags import BagMessage
from segmif_ros.recordings.writer import (
    BagWriter,
    check_output,
    image_message,
    new_bag,
    string_message,
)

OUTPUT = "/segmif/output/"
"""Topics have the names of a node with its default name."""

LABELS = f"{OUTPUT}labels"
PICTURES = ("fused", "mask", "confidence", "overlay")
"""Images that are written."""


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
        check_output(out, replace=replace, advice="give --write-bag another name")
        self.out = out
        self._inputs = inputs
        self._alpha = overlay_alpha
        self._palette = render.palette(manifest.classes)
        self._labels = labels_json(manifest)
        self._buffers = Buffers()
        self._stack = ExitStack()
        self._bag: BagWriter | None = None

    def __enter__(self) -> ResultBag:
        """Begin; without results there will be no bag."""
        return self

    def __exit__(self, *failure: Any) -> None:
        """Complete the bag and give it its name, or remove it."""
        self._stack.__exit__(*failure)

    def write(
        self,
        images: PairImages,
        stamp_ns: int,
        frame_id: str,
        messages: Sequence[BagMessage],
        derived: Iterable[Named] = (),
        marks: Iterable[render.Mark] = (),
    ) -> None:
        """Append the results of one pair, filed under the recording time of its later image.

        Args:
            images: of the pair.
            stamp_ns: of the RGB image; all results carry it.
            frame_id: of the RGB image.
            messages: both camera images as they were in the bag.
            derived: further outputs of the pair.
            marks: boxes in the overlay.

        Raises:
            BagError: it cannot be written, for example because the disk is full.
        """
        time_ns = max(message.time_ns for message in messages)
        if self._bag is None:
            self._bag = self._stack.enter_context(new_bag(self.out))
            self._bag.write_message(LABELS, time_ns, string_message(self._labels), latched=True)
        if self._inputs:
            for message in sorted(messages, key=lambda m: m.time_ns):
                if message.topic not in self._bag.topics:
                    self._bag.add_topic(message.topic, message.type)
                self._bag.write(message.topic, message.time_ns, message.cdr)
        over = render.overlay(images.fused, images.mask, self._palette, self._alpha, self._buffers)
        render.draw_marks(over, marks, self._palette)
        pictures = {**images._asdict(), "overlay": over}
        for name in PICTURES:
            image = image_message(pictures[name], stamp_ns, frame_id)
            self._bag.write_message(f"{OUTPUT}{name}", time_ns, image)
        self.write_derived(time_ns, derived)

    def write_derived(self, time_ns: int, derived: Iterable[Named]) -> None:
        """Append outputs that are no images of the result, filed under this time.

        Raises:
            BagError: as `write`.
        """
        if self._bag is not None:
            for name, message in derived:
                self._bag.write_message(f"{OUTPUT}{name}", time_ns, message)
