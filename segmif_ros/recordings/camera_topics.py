# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag are the two cameras."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

from segmif_ros.recordings.bags import IMAGE, BagError, BagSummary, Topic

_THERMAL_NAME = re.compile(r"thermal|infrared|lwir|(?:^|[/_])ir(?:[/_]|$)|boson|lepton", re.I)
_OTHER_NAME = re.compile(r"label|mask|depth|confidence|overlay|fused", re.I)
_THERMAL_DETAIL = re.compile(r" (mono|16UC1|8UC1|32FC1)")
_NEAREST = 3


def camera_topics(
    summary: BagSummary,
    rgb: str | None = None,
    thermal: str | None = None,
    *,
    types: Collection[str] = (IMAGE,),
    others: Collection[str] = (),
) -> tuple[Topic, Topic]:
    """Return the topics of the RGB and of the thermal camera.

    Args:
        summary: what the bag holds.
        rgb: name of the topic; told by names and encodings if None.
        thermal: as `rgb`.
        types: message types that will do. A camera that is there in several is taken in the first.
        others: topics of images that are no camera's.

    Raises:
        BagError: a name that is not there (with the nearest ones), no images of one camera, or
            cameras that cannot be told apart.
    """
    images = [
        topic
        for topic in summary.topics
        if topic.type in types and topic.count > 0 and topic.name not in others
    ]
    by_name = {topic.name: topic for topic in images}
    for wanted in (rgb, thermal):
        if wanted is not None and wanted not in by_name:
            raise BagError(f"no images on {wanted!r} in {summary.path}; {_offer(wanted, summary)}")
    cameras = _one_of_each([t for t in images if not _OTHER_NAME.search(t.name)], list(types))
    warm = [topic for topic in cameras if _THERMAL_NAME.search(topic.name)]
    if not warm:
        warm = [topic for topic in cameras if _THERMAL_DETAIL.search(topic.detail)]
    if thermal is not None:
        warm = [by_name[thermal]]
    plain = [topic for topic in cameras if topic not in warm]
    if rgb is not None:
        plain = [by_name[rgb]]
        warm = [topic for topic in warm if topic.name != rgb]
    if len(cameras) == 1 and not (plain and warm):
        raise BagError(
            f"only one camera in {summary.path}: images on {cameras[0].name!r} alone; a pair needs "
            f"both, if the other one has another kind of name give --rgb-topic and "
            f"--thermal-topic. It holds {summary.listing()}"
        )
    if len(warm) != 1 or len(plain) != 1:
        raise BagError(
            f"cannot tell the two cameras in {summary.path} apart; name them with --rgb-topic and "
            f"--thermal-topic. It holds {summary.listing()}"
        )
    return plain[0], warm[0]


def require_topic(summary: BagSummary, name: str, types: Collection[str]) -> Topic:
    """Return a topic by its name.

    Raises:
        BagError: not there, of another type, or without messages; with the nearest names.
    """
    for topic in summary.topics:
        if topic.name == name and topic.type in types and topic.count > 0:
            return topic
    raise BagError(f"no images on {name!r} in {summary.path}; {_offer(name, summary)}")


def _one_of_each(topics: Sequence[Topic], types: Sequence[str]) -> list[Topic]:
    """Leave out /x/compressed where /x is there too (or the other way round)."""
    best: dict[str, Topic] = {}
    for topic in sorted(topics, key=lambda t: types.index(t.type)):
        best.setdefault(topic.name.removesuffix("/compressed"), topic)
    return [topic for topic in topics if topic in best.values()]


def _offer(wanted: str, summary: BagSummary) -> str:
    names = [topic.name for topic in summary.topics]
    near = difflib.get_close_matches(wanted, names, n=_NEAREST, cutoff=0.5)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{meant}It holds {summary.listing()}"
