# SPDX-License-Identifier: Apache-2.0
"""A web server for one person on this machine: the page, its frames, nothing else.

It binds 127.0.0.1, answers only to the names of this machine (so that no other site can reach it
through a name that resolves to loopback, "DNS rebinding"), sends a content security policy, and
knows a fixed set of addresses: no path of the file system is ever made from a request.
"""

from __future__ import annotations

import json
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock
from typing import Any
from urllib.parse import parse_qs

from segmif_ros.view.frames import MEDIA_TYPES, LiveSource, RecordedSource, ViewError, ViewFrame
from segmif_ros.view.page import asset, described, entry, served_page

LOOPBACK = "127.0.0.1"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_NAMES = (LOOPBACK, "localhost")
_KEPT_FRAMES = 24
"""Frames of VGA are about 0.2 MB encoded; enough to step back and forth without computing."""
_LONGEST_WAIT_S = 5.0
_IDLE_S = 20.0
_MOST_CONNECTIONS = 48
"""Each has a thread. A browser opens six at most."""
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\n"
    b"Connection: close\r\n\r\n"
)
_NUMBER = re.compile(r"[0-9]{1,15}")
_BAD = HTTPStatus.BAD_REQUEST
_IMAGE = re.compile(r"/image/(\d{1,12})/([a-z]+)\.(jpg|png)")
_FRAME = re.compile(r"/api/frame/(\d{1,12})")


class FrameCache:
    """The frames used last, each computed once for any number of requests."""

    def __init__(self, compute: Callable[[int], ViewFrame], kept: int = _KEPT_FRAMES) -> None:
        self._compute = compute
        self._kept = kept
        self._frames: OrderedDict[int, ViewFrame] = OrderedDict()
        self._computing = Lock()
        self._lock = Lock()

    def get(self, index: int) -> ViewFrame:
        """Return a frame, computing it if it is not cached.

        Raises:
            ViewError: it cannot be computed.
        """
        found = self.peek(index)
        if found is not None:
            return found
        with self._computing:
            found = self.peek(index)
            if found is None:
                found = self._compute(index)
                self.put(index, found)
        return found

    def peek(self, index: int) -> ViewFrame | None:
        """Return a frame if it is there."""
        with self._lock:
            found = self._frames.get(index)
            if found is not None:
                self._frames.move_to_end(index)
            return found

    def put(self, index: int, frame: ViewFrame) -> None:
        """Keep a frame; the one used longest ago may go."""
        with self._lock:
            self._frames[index] = frame
            self._frames.move_to_end(index)
            while len(self._frames) > self._kept:
                self._frames.popitem(last=False)


class ViewServer(ThreadingHTTPServer):
    """Serves one source on loopback; use `serve_forever` and `server_close`."""

    daemon_threads = True

    def __init__(self, source: RecordedSource | LiveSource, port: int = 0) -> None:
        """Bind the port.

        Args:
            source: where frames come from; the caller closes it.
            port: 0 takes a free one.

        Raises:
            OSError: the port is taken.
        """
        super().__init__((LOOPBACK, port), _Handler)
        self.source = source
        self.live = source if isinstance(source, LiveSource) else None
        self.recorded = None if isinstance(source, LiveSource) else source
        self.cache = FrameCache(self._computed)
        self._free = BoundedSemaphore(_MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread; with too many open it is turned away."""
        if not self._free.acquire(blocking=False):
            with suppress(OSError):
                request.sendall(_FULL)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Report an unexpected error in one line; a closed connection is not an error."""
        err = sys.exc_info()[1]
        if not isinstance(err, ConnectionError | TimeoutError):
            sys.stderr.write(f"segmif view: a request failed: {err!r}; please report it\n")

    def close(self) -> None:
        """Free the port."""
        self.server_close()

    @property
    def address(self) -> str:
        """Address to open in a browser."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def hosts(self) -> set[str]:
        """Return the Host headers of requests that are meant for this server."""
        return {f"{name}:{self.server_port}" for name in _NAMES}

    def info(self) -> dict[str, Any]:
        """Return the page's first data."""
        return {
            "title": self.source.title,
            "classes": described(self.source.classes),
            "count": len(self.recorded) if self.recorded is not None else 0,
            "live": self.live is not None,
        }

    def frame_entry(self, index: int, frame: ViewFrame) -> dict[str, object]:
        """Return one frame with the addresses of its pictures on this server."""
        addresses = {
            name: f"/image/{index}/{name}.{picture.kind}"
            for name, picture in frame.pictures.items()
        }
        return entry(frame, addresses)

    def newest(self, after: int) -> dict[str, object]:
        """Return the newest live result, or what is missing."""
        if self.live is None:
            raise ViewError("this source is recorded; use /api/frame/0")
        number, frame, status = self.live.newest(after, _LONGEST_WAIT_S)
        shown = None
        if frame is not None:
            self.cache.put(number, frame)
            shown = self.frame_entry(number, frame)
        classes = described(self.live.classes)
        return {"after": number, "frame": shown, "status": status, "classes": classes}

    def _computed(self, index: int) -> ViewFrame:
        if self.recorded is None:
            raise ViewError(f"result {index} has been replaced by newer ones")
        if not 0 <= index < len(self.recorded):
            raise ViewError(f"frame {index} does not exist; there are {len(self.recorded)}")
        return self.recorded.frame(index)


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    server_version = "segmif"
    sys_version = ""

    def do_GET(self) -> None:
        """Serve one request."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0] not in self.server.hosts():
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "not the name of this server")
            return
        if not self.path.startswith("/"):
            self._refuse(_BAD, "an address of this server begins with /")
            return
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            # What follows would be parsed as the next request.
            self.close_connection = True
            self._refuse(_BAD, "a request for a page has no body")
            return
        path, _, query = self.path.partition("?")
        try:
            self._answer(path, parse_qs(query, max_num_fields=8))
        except ViewError as err:
            self._refuse(HTTPStatus.NOT_FOUND, str(err))
        except ValueError as err:  # more fields than needed
            self._refuse(_BAD, str(err))
        except (BrokenPipeError, ConnectionResetError):
            # The browser went on to another frame.
            self.close_connection = True

    def _answer(self, path: str, query: dict[str, list[str]]) -> None:
        server = self.server
        if path == "/":
            self._send(served_page(server.source.title).encode(), "text/html; charset=utf-8")
        elif path == "/viewer.css":
            self._send(asset("viewer.css").encode(), "text/css; charset=utf-8")
        elif path == "/viewer.js":
            self._send(asset("viewer.js").encode(), "text/javascript; charset=utf-8")
        elif path == "/api/info":
            self._send_json(server.info())
        elif path == "/api/newest":
            after = query.get("after", ["0"])[0]
            if not _NUMBER.fullmatch(after):
                raise ViewError("after takes the number of a result")
            self._send_json(server.newest(int(after)))
        elif found := _FRAME.fullmatch(path):
            index = int(found[1])
            self._send_json(server.frame_entry(index, server.cache.get(index)))
        elif found := _IMAGE.fullmatch(path):
            picture = server.cache.get(int(found[1])).pictures.get(found[2])
            if picture is None or picture.kind != found[3]:
                raise ViewError(f"frame {found[1]} has no picture {found[2]}.{found[3]}")
            self._send(picture.data, MEDIA_TYPES[picture.kind])
        else:
            raise ViewError("no such page")

    def _send_json(self, content: object, status: HTTPStatus = HTTPStatus.OK) -> None:
        text = json.dumps(content, allow_nan=False)
        self._send(text.encode(), "application/json; charset=utf-8", status)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send_json({"error": why}, status)

    def _send(self, body: bytes, media_type: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: the page shows errors."""
