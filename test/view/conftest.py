# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

PHONE = {"width": 390, "height": 844}


@dataclass
class WatchedPage:
    """A page, every request of it, and every error on it."""

    page: Any
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: self.problems.append(f"dialog {dialog.message}"))
        self.page.on(
            "console",
            lambda m: self.problems.append(m.text) if m.type == "error" else None,
        )

    def open(self, address: str) -> Any:
        self.page.goto(address)
        self.page.locator("#viewer-caption:not(:empty)").wait_for()
        return self.page

    def pixel(self, pane: str, x: int, y: int) -> tuple[int, ...]:
        """R, G, B on the canvas of a pane."""
        found = self.page.locator(f".pane[data-pane={pane}] canvas").evaluate(
            "(c, at) => [...c.getContext('2d').getImageData(...at, 1, 1).data]", [x, y]
        )
        return tuple(found[:3])

    def point_at(self, pane: str, x: int, y: int) -> None:
        """Move the mouse onto a pixel of a pane."""
        canvas = self.page.locator(f".pane[data-pane={pane}] canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        width, height = canvas.evaluate("c => [c.width, c.height]")
        self.page.mouse.move(
            box["x"] + (x + 0.5) * box["width"] / width,
            box["y"] + (y + 0.5) * box["height"] / height,
        )

    def readout(self) -> tuple[int, int]:
        """Class id and confidence that the page shows."""
        shown = self.page.locator("#viewer-readout")
        return int(shown.get_attribute("data-id")), int(shown.get_attribute("data-confidence"))

    def unnamed_controls(self) -> list[str]:
        """Controls that a screen reader could only call by their kind."""
        return self.page.locator("button, input, select, canvas, [role=region]").evaluate_all(
            """all => all.filter(e => !(
                e.getAttribute('aria-label') || e.textContent.trim()
                || [...(e.labels || [])].some(l => l.textContent.trim())
            )).map(e => e.outerHTML)"""
        )

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return self.page.locator("html").evaluate("e => e.scrollWidth - window.innerWidth")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium of the system; closed with the module, as it brings an event loop."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        text = "no chromium: sudo apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install '.[test]'")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def watched(chromium: Any) -> Iterator[WatchedPage]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    yield WatchedPage(context.new_page())
    context.close()


@pytest.fixture(params=["light", "dark"])
def phone(chromium: Any, request: pytest.FixtureRequest) -> Iterator[WatchedPage]:
    context = chromium.new_context(viewport=PHONE, color_scheme=request.param, has_touch=True)
    context.set_default_timeout(15_000)
    yield WatchedPage(context.new_page())
    context.close()
