# SPDX-License-Identifier: Apache-2.0
"""The page of `segmif view` in a real browser, against pixels that are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from made_report import PERSON, ROAD, confidence, mask
from made_view import MadeLive, MadeSource, serving, view_images

from segmif_ros.bundle import LabelClass
from segmif_ros.calibration.points import read_pairs
from segmif_ros.registration import Registration
from segmif_ros.registration.warp import RemapTable
from segmif_ros.render import display_color
from segmif_ros.thermal import ThermalSettings
from segmif_ros.view.frames import Heat, ViewFrame, encoded
from segmif_ros.view.server import ViewServer

RED, BLUE = (200, 30, 30), (30, 30, 200)


@pytest.fixture(scope="module")
def server() -> Iterator[ViewServer]:
    with serving(MadeSource()) as running:
        yield running


def near(found: tuple[int, ...], wanted: tuple[int, ...], tolerance: int = 6) -> bool:
    """JPEG moves a colour by a step or two."""
    return all(abs(a - b) <= tolerance for a, b in zip(found, wanted, strict=True))


def mixed(a: tuple[int, ...], b: tuple[int, ...], weight: float) -> tuple[int, ...]:
    return tuple(round((1 - weight) * x + weight * y) for x, y in zip(a, b, strict=True))


def color_of(label: int) -> tuple[int, ...]:
    return next(display_color(c) for c in MadeSource().classes if c.id == label)


def test_the_four_panes_show_the_four_pictures(server, watched):
    watched.open(server.address)
    assert near(watched.pixel("visible", 100, 60), RED)
    assert near(watched.pixel("thermal", 100, 60), (40, 40, 40))
    assert near(watched.pixel("fused", 100, 60), BLUE)
    assert near(watched.pixel("classes", 100, 60), mixed(BLUE, color_of(ROAD), 0.55))
    assert near(watched.pixel("classes", 60, 60), mixed(BLUE, color_of(PERSON), 0.55))
    assert near(watched.pixel("classes", 2, 2), BLUE), "255 has no colour"


def test_the_slider_lays_the_visible_picture_over_the_fused_one(server, watched):
    page = watched.open(server.address)
    page.get_by_label("How much of the fused image").fill("50")
    assert near(watched.pixel("fused", 40, 60), RED)
    assert near(watched.pixel("fused", 120, 60), BLUE)
    page.get_by_label("blend").check()
    assert near(watched.pixel("fused", 120, 60), mixed(BLUE, RED, 0.5))
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("]")
    assert near(watched.pixel("fused", 120, 60), mixed(BLUE, RED, 0.55))


def test_a_drag_over_the_fused_picture_moves_the_border(server, watched):
    page = watched.open(server.address)
    watched.point_at("fused", 30, 60)
    page.mouse.down()
    watched.point_at("fused", 100, 60)
    page.mouse.up()
    assert near(watched.pixel("fused", 90, 20), RED)
    assert near(watched.pixel("fused", 110, 20), BLUE)


def test_the_cursor_reads_class_and_confidence_of_the_very_pixel(server, watched):
    page = watched.open(server.address)
    names = {PERSON: "person", ROAD: "road", 255: "unlabelled"}
    for x, y in [(60, 60), (100, 60), (2, 2), (159, 119), (39, 30), (40, 30)]:
        watched.point_at("visible", x, y)
        label, sure = int(mask()[y, x]), int(confidence()[y, x])
        assert watched.readout() == (label, sure)
        text = page.locator("#viewer-readout").inner_text()
        assert text.startswith(f"{names[label]} (id {label})")
        assert f"confidence {100 * sure / 255:.1f} %" in text
        assert f"x {x}, y {y}" in text


def kelvin() -> np.ndarray:
    """Counts of a thermal camera with half the pixels, warmer to the right and downwards."""
    return (29000 + 3 * np.arange(80)[None] + 100 * np.arange(60)[:, None]).astype(np.uint16)


def test_the_cursor_reads_temperatures_at_the_thermal_cameras_own_pixel(watched):
    celsius = ThermalSettings(scale=0.01, offset=-273.15)
    with serving(MadeSource(heat=Heat.of(kelvin(), celsius, Registration()))) as server:
        page = watched.open(server.address)
        for x, y in [(100, 60), (0, 0), (159, 119)]:
            degrees = 0.01 * kelvin()[y // 2, x // 2] - 273.15
            for pane, place in (
                ("fused", f"x {x}, y {y}"),
                ("thermal", f"thermal x {x // 2}, y {y // 2}"),
            ):
                watched.point_at(pane, x, y)
                text = page.locator("#viewer-readout").inner_text()
                assert f"{place}, {degrees:.1f} °C" in text
        page.locator(".pane[data-pane=thermal] canvas").focus()
        page.keyboard.press("ArrowLeft")
        assert "thermal x 79, y 59" in page.locator("#viewer-readout").inner_text()


def test_counts_are_named_so_and_nothing_is_read_outside_the_thermal_view(watched):
    table = RemapTable(
        np.tile(np.arange(160, dtype=np.float32) - 80, (120, 1)),
        np.tile(np.arange(120, dtype=np.float32)[:, None] / 2, (1, 160)),
        np.tile(np.where(np.arange(160) < 80, 0, 255).astype(np.uint8), (120, 1)),
    )
    with serving(MadeSource(heat=Heat(kelvin().astype(np.float32), "counts", table))) as server:
        page = watched.open(server.address)
        watched.point_at("thermal", 103, 60)
        shown = page.locator("#viewer-readout")
        assert f"thermal x 23, y 30, {kelvin()[30, 23]} counts" in shown.inner_text()
        watched.point_at("thermal", 40, 60)
        assert "counts" not in shown.inner_text()
        assert "x 40, y 60" in shown.inner_text()
        assert shown.get_attribute("data-heat") == ""
    assert not watched.problems


def test_arrow_keys_move_the_cursor_on_a_focused_picture(server, watched):
    page = watched.open(server.address)
    watched.point_at("thermal", 40, 60)
    page.locator(".pane[data-pane=thermal] canvas").focus()
    assert watched.readout() == (PERSON, 40)
    page.keyboard.press("ArrowLeft")
    assert watched.readout() == (ROAD, 39)
    page.keyboard.press("Shift+ArrowRight")
    assert watched.readout() == (PERSON, 49)
    assert page.locator("#viewer-readout").get_attribute("aria-live") == "polite"
    assert page.locator("#viewer-position").inner_text() == "1 / 4", "the frame stays"


class RawSource(MadeSource):
    """Thermal of another size than the visible picture, as from a rig without a calibration."""

    def frame(self, index: int) -> ViewFrame:
        return encoded(replace(view_images(index), raw=np.full((100, 80), 90, np.uint8)))


def test_points_are_picked_in_pixels_of_the_raw_thermal_picture(watched, tmp_path):
    with serving(RawSource()) as running:
        page = watched.open(running.address)
        page.get_by_role("button", name="Pick points").click()
        for thermal, visible in [((10, 20), (30, 40)), ((70, 90), (150, 110))]:
            for pane, at in (("thermal", thermal), ("visible", visible)):
                watched.point_at(pane, *at)
                page.mouse.down()
                page.mouse.up()
        assert page.locator("#viewer-readout").inner_text().endswith("of 160x120")
        written = page.get_by_label("Picked points").input_value()
        assert "--rgb-size 160x120 --thermal-size 80x100" in written
        points = tmp_path / "points.txt"
        points.write_text(written)
        raw, rgb = read_pairs([str(points)])
        assert np.allclose(raw, [[10, 20], [70, 90]], atol=0.6)
        assert np.allclose(rgb, [[30, 40], [150, 110]], atol=0.6)
        page.get_by_role("button", name="remove the last").click()
        assert page.get_by_label("Picked points").input_value().count("\n") == 2
        page.keyboard.press("p")
        assert page.get_by_label("Picked points").is_hidden()
        assert watched.pixel("thermal", 100, 60) == (40, 40, 40)


def test_zoom_keeps_the_pixel_under_the_cursor_and_reads_finer(server, watched):
    page = watched.open(server.address)
    watched.point_at("thermal", 60, 60)
    box = page.locator(".pane[data-pane=thermal] .stage").bounding_box()
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert page.get_by_label("zoom").input_value() == "4"
    x, y = box["x"] + box["width"] * 60.5 / 160, box["y"] + box["height"] * 60.5 / 120
    page.mouse.move(x, y)
    assert watched.readout() == (PERSON, 60)
    page.mouse.move(x + 1.6 * box["width"] / 160, y)  # from 60.5: to 62.1 unzoomed, to 60.9 at 4x
    assert watched.readout() == (PERSON, 60)
    page.mouse.move(x + 4.0 * box["width"] / 160, y)
    assert watched.readout() == (PERSON, 61)
    assert page.locator(".pane[data-pane=thermal] .stage").bounding_box() == box
    page.get_by_label("zoom").select_option("1")
    watched.point_at("thermal", 100, 60)
    assert watched.readout() == (ROAD, 100)


def test_a_class_that_is_switched_off_is_not_drawn_and_still_read(server, watched):
    page = watched.open(server.address)
    page.get_by_label("person").uncheck()
    assert near(watched.pixel("classes", 60, 60), BLUE)
    assert near(watched.pixel("classes", 100, 60), mixed(BLUE, color_of(ROAD), 0.55))
    watched.point_at("classes", 60, 60)
    assert watched.readout()[0] == PERSON
    page.get_by_role("button", name="none").click()
    assert near(watched.pixel("classes", 100, 60), BLUE)
    page.get_by_role("button", name="all").click()
    assert near(watched.pixel("classes", 60, 60), mixed(BLUE, color_of(PERSON), 0.55))


def test_doubtful_pixels_can_be_hidden(server, watched):
    page = watched.open(server.address)
    page.get_by_label("Hide pixels with a confidence below").fill("40")  # 102 of 255
    assert near(watched.pixel("classes", 101, 60), BLUE)
    assert near(watched.pixel("classes", 102, 60), mixed(BLUE, color_of(ROAD), 0.55))


def test_the_fourth_pane_shows_what_is_chosen(server, watched):
    page = watched.open(server.address)
    page.get_by_label("show").select_option("mask")
    assert watched.pixel("classes", 60, 60) == color_of(PERSON)
    page.get_by_label("show").select_option("confidence")
    assert watched.pixel("classes", 60, 60) == (60, 60, 60)
    page.get_by_label("show").select_option("visible")
    page.get_by_label("Strength of the class colours").fill("0")
    assert near(watched.pixel("classes", 60, 60), RED)


def test_frames_are_reached_by_buttons_keys_and_scrubber(server, watched):
    page = watched.open(server.address)
    shown = page.locator("#viewer-caption")
    playwright = pytest.importorskip("playwright.sync_api")
    page.get_by_role("button", name="Next frame").click()
    playwright.expect(shown).to_have_text("frame number 1")
    assert near(watched.pixel("thermal", 60, 60), (50, 50, 50))
    page.locator("h1").click()
    page.keyboard.press("End")
    playwright.expect(shown).to_have_text("frame number 3")
    page.keyboard.press("ArrowLeft")
    playwright.expect(shown).to_have_text("frame number 2")
    page.get_by_label("Frame", exact=True).fill("0")
    playwright.expect(shown).to_have_text("frame number 0")
    page.get_by_role("button", name="Play").click()
    playwright.expect(shown).to_have_text("frame number 3")
    playwright.expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_a_key_that_is_held_does_not_pile_up_work(watched):
    playwright = pytest.importorskip("playwright.sync_api")
    source = MadeSource(60, delay_s=0.1)
    with serving(source) as server:
        page = watched.open(server.address)
        page.locator("h1").click()
        for _ in range(40):
            page.keyboard.press("ArrowRight")
        playwright.expect(page.locator("#viewer-caption")).to_have_text("frame number 40")
        assert source.computed[-1] == 40
        assert len(source.computed) < 35
        assert page.locator("#viewer-position").inner_text() == "41 / 60"


def test_a_frame_that_cannot_be_shown_says_why_and_the_next_one_can(watched):
    playwright = pytest.importorskip("playwright.sync_api")
    with serving(MadeSource(3, bad=1)) as server:
        page = watched.open(server.address)
        page.get_by_role("button", name="Next frame").click()
        told = page.locator("#viewer-status")
        playwright.expect(told).to_have_text("frame 2: the image is malformed: <b>bold</b>")
        page.get_by_role("button", name="Next frame").click()
        playwright.expect(page.locator("#viewer-caption")).to_have_text("frame number 2")
        playwright.expect(told).to_have_text("")


def test_a_live_source_is_followed_and_can_be_held(watched):
    playwright = pytest.importorskip("playwright.sync_api")
    source = MadeLive()
    with serving(source) as server:
        page = watched.page
        page.goto(server.address)
        told = page.locator("#viewer-status")
        playwright.expect(told).to_have_text("waiting for /made/output/fused")
        source.classes = MadeSource().classes
        source.put()
        caption = page.locator("#viewer-caption")
        playwright.expect(caption).to_have_text("frame number 1")
        playwright.expect(page.get_by_label("person")).to_be_visible()
        source.put()
        playwright.expect(caption).to_have_text("frame number 2")
        page.get_by_role("button", name="Pause").click()
        source.put()
        page.wait_for_timeout(400)
        assert caption.inner_text() == "frame number 2"
        assert not page.get_by_label("Frame", exact=True).is_visible()
        page.goto("about:blank")


def test_nothing_leaves_the_machine_and_nothing_is_complained_about(server, watched):
    page = watched.open(server.address)
    page.get_by_role("button", name="Next frame").click()
    page.get_by_label("blend").check()
    watched.point_at("fused", 20, 20)
    outside = [
        url for url in watched.requests if not url.startswith((server.address, "data:", "blob:"))
    ]
    assert len(watched.requests) > 8
    assert outside == []
    assert watched.problems == []
    assert watched.unnamed_controls() == []


def test_names_of_any_kind_stay_text(watched):
    hostile = '<img src=x onerror="alert(1)"></title><script>alert(2)</script>'
    source = MadeSource(title=hostile)
    source.classes = (LabelClass(1, hostile, (1, 2, 3)), *source.classes[2:])
    with serving(source) as server:
        page = watched.open(server.address)
        assert page.locator("h1").inner_text() == f"segmif view: {hostile}"
        assert page.locator("#viewer-classes img").count() == 0
        assert page.locator("#viewer-classes").inner_text().startswith("<img")
        assert watched.problems == []


def test_on_a_phone_nothing_is_wider_than_the_window(server, phone):
    page = phone.open(server.address)
    assert phone.overflow() == 0
    page.get_by_role("button", name="Classes", exact=True).click()
    assert phone.overflow() == 0
    canvas = page.locator(".pane[data-pane=classes] canvas")
    assert canvas.bounding_box()["width"] > 350
    canvas.tap(position={"x": canvas.bounding_box()["width"] * 0.375, "y": 100})
    assert phone.readout()[0] == PERSON
    assert phone.problems == []


def test_play_and_all_pictures_are_seen_without_scrolling(server, watched):
    watched.page.set_viewport_size({"width": 1300, "height": 1000})
    watched.open(server.address)
    for part in ("#viewer-play", ".pane[data-pane=classes] canvas", "#viewer-alpha"):
        box = watched.page.locator(part).bounding_box()
        assert box["y"] + box["height"] <= 1000, part
    left, right = (
        watched.page.locator(f".pane[data-pane={name}]").bounding_box()
        for name in ("fused", "classes")
    )
    assert left["y"] == right["y"]
