# SPDX-License-Identifier: Apache-2.0
"""The viewer's page: served whole by `segmif view`, or put into another page with its frames."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files

from segmif_ros.bundle import LabelClass
from segmif_ros.render import PERSON, display_color
from segmif_ros.view.frames import MEDIA_TYPES, Picture, ViewFrame

DATA_ID = "segmif-frames"
"""Id of the JSON block from which the viewer takes frames before it uses a server."""


@cache
def asset(name: str) -> str:
    """Return one of the page's files: viewer.html, viewer.css, viewer.js or page.html."""
    return files("segmif_ros.view").joinpath("page", name).read_text(encoding="utf-8")


def served_page(title: str) -> str:
    """Return the page that loads frames from its server."""
    page = asset("page.html").replace("{{viewer}}", asset("viewer.html"))
    return page.replace("{{title}}", html.escape(title))


def embedded_viewer(frames: Iterable[ViewFrame], classes: Sequence[LabelClass]) -> str:
    """Return the viewer with its frames inside, for a page that carries viewer.css and viewer.js.

    The block of data comes before the script in the page, so nothing is fetched.
    """
    content = {
        "classes": described(classes),
        "frames": [
            entry(frame, {name: data_uri(each) for name, each in frame.pictures.items()})
            for frame in frames
        ],
    }
    block = f'<script type="application/json" id="{DATA_ID}">{json_block(content)}</script>'
    return asset("viewer.html") + block


def entry(frame: ViewFrame, addresses: dict[str, str]) -> dict[str, object]:
    """Return what the page shows of one frame."""
    told = {"time_s": frame.time_s, "caption": frame.caption, "images": addresses}
    return told if frame.heat is None else {**told, "heat": frame.heat}


def described(classes: Sequence[LabelClass]) -> list[dict[str, object]]:
    """Return classes in the page's format."""
    return [
        {
            "id": label.id,
            "name": label.name,
            "color": list(display_color(label)),
            "outlined": display_color(label) == PERSON,
        }
        for label in classes
    ]


def data_uri(picture: Picture) -> str:
    """Return a picture as an address that needs no server."""
    text = base64.b64encode(picture.data).decode("ascii")
    return f"data:{MEDIA_TYPES[picture.kind]};base64,{text}"


def json_block(content: object) -> str:
    """Return JSON that cannot end the script element it stands in."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def content_hash(text: str) -> str:
    """Return the name of an inline script or style in a content security policy."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
