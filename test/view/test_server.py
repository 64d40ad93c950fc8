# SPDX-License-Identifier: Apache-2.0
"""The server of `segmif view`: who may ask, what can be asked, and what is computed for it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from made_report import confidence, mask
from made_view import MadeSource, serving, view_images
from tiny_model import fmb_classes

from segmif_ros.view.frames import ViewError, encoded
from segmif_ros.view.page import json_block
from segmif_ros.view.server import FrameCache, ViewServer


@pytest.fixture(scope="module")
def server() -> Iterator[ViewServer]:
    with serving(MadeSource(4, bad=2)) as running:
        yield running


def ask(
    server: ViewServer, path: str, host: str | None = None, method: str = "GET"
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        headers = {} if host is None else {"Host": host}
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_mask_and_confidence_arrive_without_loss(server):
    for name, wanted in (("mask", mask()), ("confidence", confidence())):
        answer, body = ask(server, f"/image/1/{name}.png")
        assert answer.getheader("Content-Type") == "image/png"
        decoded = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded, wanted)


def test_info_and_frames_name_what_there_is(server):
    info = json.loads(ask(server, "/api/info")[1])
    assert (info["title"], info["count"], info["live"]) == ("made", 4, False)
    person = fmb_classes()[8]
    assert info["classes"][8] == {"id": 8, "name": "person", "color": list(person.color)}
    frame = json.loads(ask(server, "/api/frame/1")[1])
    assert frame["caption"] == "frame number 1"
    assert frame["images"]["fused"] == "/image/1/fused.jpg"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "", "[::1]"])
def test_another_name_of_this_machine_gets_nothing(server, host):
    answer, body = ask(server, "/api/info", host.format(port=server.server_port))
    assert answer.status == 421
    assert b"classes" not in body


def test_localhost_is_a_name_of_this_machine(server):
    assert ask(server, "/", f"localhost:{server.server_port}")[0].status == 200


def test_only_this_machine_is_listened_to(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.socket.family == socket.AF_INET


@pytest.mark.parametrize(
    "path", ["/", "/viewer.js", "/viewer.css", "/api/info", "/image/0/mask.png"]
)
def test_every_answer_forbids_other_sources(server, path):
    answer, _ = ask(server, path)
    assert answer.status == 200
    policy = answer.getheader("Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert answer.getheader("X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/page/viewer.js",
        "/viewer.html",
        "/image/0/mask.jpg",
        "/image/0/..%2f..%2fetc.png",
        "/image/9/mask.png",
        "/image/-1/mask.png",
        "/api/frame/99999999999999999999",
        "/api/frame/4",
        "/api/newest?after=x",
    ],
)
def test_anything_else_is_not_there(server, path):
    answer, body = ask(server, path)
    assert answer.status == 404
    assert json.loads(body)["error"]


def test_nothing_can_be_changed(server):
    assert ask(server, "/api/frame/0", method="POST")[0].status == 501


def test_a_frame_that_fails_says_why_and_the_server_goes_on(server):
    answer, body = ask(server, "/api/frame/2")
    assert answer.status == 404
    assert "malformed" in json.loads(body)["error"]
    assert ask(server, "/api/frame/3")[0].status == 200


def test_a_frame_is_computed_once_for_all_that_ask():
    source = MadeSource()
    cache = FrameCache(source.frame)
    with ThreadPoolExecutor(6) as pool:
        frames = list(pool.map(cache.get, [1] * 12))
    assert source.computed == [1]
    assert all(frame is frames[0] for frame in frames)


def test_only_the_frames_used_last_are_kept():
    source = MadeSource(10)
    cache = FrameCache(source.frame, kept=3)
    for index in (0, 1, 2, 0, 3):
        cache.get(index)
    assert cache.peek(1) is None
    assert cache.peek(0) is not None
    cache.get(1)
    assert source.computed == [0, 1, 2, 3, 1]


def test_a_frame_that_failed_is_tried_again():
    source = MadeSource(bad=0)
    cache = FrameCache(source.frame)
    for _ in range(2):
        with pytest.raises(ViewError):
            cache.get(0)
    assert source.computed == [0, 0]


def test_a_port_that_is_taken_is_an_error(server):
    with pytest.raises(OSError, match="in use"):
        ViewServer(MadeSource(), server.server_port)


def test_data_cannot_end_its_script_element():
    block = json_block({"caption": "</script><script>alert(1)"})
    assert "<" not in block
    assert json.loads(block)["caption"] == "</script><script>alert(1)"


def test_an_encoded_frame_of_vga_is_small():
    big = view_images(0)
    frame = encoded(big)
    assert set(frame.pictures) == {"visible", "thermal", "fused", "mask", "confidence"}
    assert sum(len(p.data) for p in frame.pictures.values()) < 20_000
