# SPDX-License-Identifier: Apache-2.0
"""The server of `segmif view`: who may ask, what can be asked, and what is computed for it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic

import cv2
import numpy as np
import pytest
from made_report import confidence, mask
from made_view import MadeSource, serving, view_images
from tiny_model import fmb_classes

from segmif_ros.render import display_color
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
    assert info["classes"][8] == {
        "id": 8,
        "name": "person",
        "color": list(display_color(person)),
        "outlined": True,
    }
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


def raw(server: ViewServer, request: str) -> str:
    """Send bytes as they are and return everything that comes back until the end."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(request.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.decode("latin-1")


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        ("GET /api/newest?after=" + "9" * 5000, "", "404"),
        ("GET /api/newest?after=-1", "", "404"),
        ("GET /api/newest?after=1e3", "", "404"),
        ("GET /api/newest?after=\xb2", "", "404"),
        ("GET /?" + "&".join(f"a{i}=1" for i in range(500)), "", "400"),
        ("GET http://[/", "", "400"),
        ("GET http://elsewhere/", "", "400"),
        ("GET *", "", "400"),
        ("GET //[/", "", "404"),
        ("GET /api/info", "Host: {host}\r\n", "421"),
        ("GET /api/info", "Host: elsewhere\r\n", "421"),
        ("GET /api/info", "Content-Length: 5\r\n", "400"),
        ("GET /api/info", "Content-Length: x\r\n", "400"),
        ("GET /api/info", "Transfer-Encoding: chunked\r\n", "400"),
        ("GET /api/info", "Content-Length: 0\r\n", "200"),
    ],
)
def test_requests_that_no_browser_sends_get_one_answer(server, capfd, line, headers, status):
    host = f"127.0.0.1:{server.server_port}"
    more = headers.format(host=host)
    body = "GET /api/info HTTP/1.1\r\n\r\n" if status == "400" else ""
    answer = raw(
        server, f"{line} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n{body}"
    )
    assert answer.startswith(f"HTTP/1.1 {status} "), answer[:200]
    assert answer.count("HTTP/1.1") == 1, "a body is not taken for another request"
    assert capfd.readouterr().err == ""


def test_connections_are_limited_and_come_back(server):
    idle = [
        socket.create_connection(("127.0.0.1", server.server_port), timeout=10) for _ in range(48)
    ]
    try:
        deadline = monotonic() + 10.0
        while not raw(server, "").startswith("HTTP/1.1 503") and monotonic() < deadline:
            pass
        assert raw(server, "").startswith("HTTP/1.1 503")
        assert threading.active_count() < 70
    finally:
        for connection in idle:
            connection.close()
    deadline = monotonic() + 10.0
    while monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException):
            if ask(server, "/api/info")[0].status == 200:
                return
    pytest.fail("no client is served any more")


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
