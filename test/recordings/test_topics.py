# SPDX-License-Identifier: Apache-2.0
"""Which topics are the cameras, and the message when they are ambiguous."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from segmif_ros.recordings.bags import COMPRESSED_IMAGE, IMAGE, BagError, BagSummary, Topic
from segmif_ros.recordings.topics import camera_of, camera_topics, input_transport, require_topic


def summary(*topics: Topic) -> BagSummary:
    return BagSummary(Path("drive"), "mcap", 0, 1, 1, topics)


def topic(name: str, kind: str = IMAGE, detail: str = "", count: int = 5) -> Topic:
    return Topic(name, kind, count, 10.0, detail)


RGB, LWIR = topic("/front/image_raw"), topic("/front/lwir")


def names(*topics: Topic, **options) -> tuple[str, ...]:
    return tuple(found.name for found in camera_topics(summary(*topics), **options))


def test_names_and_encodings_identify_the_cameras():
    assert names(LWIR, RGB, topic("/front/labels")) == ("/front/image_raw", "/front/lwir")
    grey = topic("/b", detail="640x512 mono16, frame 'b'")
    assert names(topic("/a", detail="640x480 rgb8, frame 'a'"), grey) == ("/a", "/b")


def test_a_camera_that_is_there_raw_and_compressed_is_one_camera():
    packed = topic("/front/image_raw/compressed", COMPRESSED_IMAGE)
    assert names(packed, RGB, LWIR) == ("/front/image_raw", "/front/lwir")
    assert names(packed, LWIR) == ("/front/image_raw/compressed", "/front/lwir")


def test_transports_that_cannot_be_decoded_are_no_cameras():
    """image_transport's zstd and compressedDepth have the type of JPEG, and are not."""
    packed = [
        replace(topic(f"{camera.name}/zstd", COMPRESSED_IMAGE), usable=False)
        for camera in (RGB, LWIR)
    ]
    assert names(RGB, LWIR, *packed) == ("/front/image_raw", "/front/lwir")
    with pytest.raises(BagError, match=r"cannot be decoded: .*record raw images, or JPEG"):
        names(RGB, LWIR, *packed, rgb="/front/image_raw/zstd")


@pytest.mark.parametrize(
    ("rgb", "thermal", "transport"),
    [
        ("", "", "raw"),
        ("/compressed", "", "rgb_compressed"),
        ("", "/compressed", "thermal_compressed"),
        ("/compressed", "/compressed", "compressed"),
    ],
)
def test_the_nodes_parameter_follows_from_the_topics(rgb, thermal, transport):
    kinds = {"": IMAGE, "/compressed": COMPRESSED_IMAGE}
    topics = [topic(f"/a{end}", kinds[end]) for end in (rgb, thermal)]
    assert input_transport(*topics) == transport
    assert [camera_of(each.name) for each in topics] == ["/a", "/a"]
    with pytest.raises(BagError, match="only to a topic that ends in /compressed"):
        input_transport(topic("/jpeg", COMPRESSED_IMAGE), topics[1])


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
        ((RGB, topic("/rear/image_raw"), LWIR), {}, "cannot distinguish the two cameras"),
        ((), {}, "cannot distinguish the two cameras"),
    ],
)
def test_ambiguous_cameras_are_reported_with_the_topics(topics, options, says):
    with pytest.raises(BagError, match=says):
        camera_topics(summary(*topics), **options)


def test_a_required_topic_is_there_or_the_nearest_are_named():
    labels = topic("/rgb/labels")
    assert require_topic(summary(RGB, labels), "/rgb/labels") is labels
    with pytest.raises(BagError, match="did you mean /rgb/labels"):
        require_topic(summary(RGB, labels), "/rgb/label")
