# SPDX-License-Identifier: Apache-2.0
"""Which topics are the cameras, and what is said when that cannot be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from segmif_ros.recordings.bags import COMPRESSED_IMAGE, IMAGE, BagError, BagSummary, Topic
from segmif_ros.recordings.camera_topics import camera_topics, require_topic

BOTH = (IMAGE, COMPRESSED_IMAGE)


def summary(*topics: Topic) -> BagSummary:
    return BagSummary(Path("drive"), "mcap", 0, 1, 1, topics)


def topic(name: str, kind: str = IMAGE, detail: str = "", count: int = 5) -> Topic:
    return Topic(name, kind, count, 10.0, detail)


RGB, LWIR = topic("/front/image_raw"), topic("/front/lwir")


def names(*topics: Topic, **options) -> tuple[str, ...]:
    return tuple(found.name for found in camera_topics(summary(*topics), **options))


def test_names_and_encodings_tell_the_cameras():
    assert names(LWIR, RGB, topic("/front/labels")) == ("/front/image_raw", "/front/lwir")
    grey = topic("/b", detail="640x512 mono16, frame 'b'")
    assert names(topic("/a", detail="640x480 rgb8, frame 'a'"), grey) == ("/a", "/b")


def test_a_camera_that_is_there_raw_and_compressed_is_one_camera():
    packed = topic("/front/image_raw/compressed", COMPRESSED_IMAGE)
    assert names(packed, RGB, LWIR, types=BOTH) == ("/front/image_raw", "/front/lwir")
    assert names(packed, LWIR, types=BOTH) == ("/front/image_raw/compressed", "/front/lwir")


def test_named_topics_are_taken_as_they_are():
    third = topic("/rear/image_raw")
    assert names(RGB, third, LWIR, rgb="/rear/image_raw") == ("/rear/image_raw", "/front/lwir")


@pytest.mark.parametrize(
    ("topics", "options", "says"),
    [
        ((RGB, LWIR), {"rgb": "/front/image_row"}, "did you mean /front/image_raw"),
        ((RGB, LWIR), {"thermal": "/x"}, "It holds /front/image_raw"),
        ((RGB,), {}, "only one camera"),
        ((RGB, topic("/front/lwir", count=0)), {}, "only one camera"),
        ((RGB, topic("/rear/image_raw"), LWIR), {}, "cannot tell the two cameras"),
        ((), {}, "cannot tell the two cameras"),
    ],
)
def test_what_cannot_be_told_is_said_with_the_topics_there(topics, options, says):
    with pytest.raises(BagError, match=says):
        camera_topics(summary(*topics), **options)


def test_a_required_topic_is_there_or_the_nearest_are_named():
    labels = topic("/rgb/labels")
    assert require_topic(summary(RGB, labels), "/rgb/labels", (IMAGE,)) is labels
    with pytest.raises(BagError, match="did you mean /rgb/labels"):
        require_topic(summary(RGB, labels), "/rgb/label", (IMAGE,))
