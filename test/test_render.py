# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from segmif_ros.bundle import LabelClass
from segmif_ros.frames import Buffers
from segmif_ros.render import (
    COLUMNS,
    DISPLAY,
    PERSON,
    Legend,
    Mark,
    SheetRow,
    colorize,
    contact_sheet,
    draw_marks,
    fit,
    four_panes,
    overlay,
    palette,
)

ROAD = DISPLAY["road"]

CLASSES = (
    LabelClass(0, "unlabelled", (0, 0, 0)),
    LabelClass(1, "road", (179, 228, 228)),
    LabelClass(2, "person", (76, 99, 166)),
)


def gradient(height: int = 48, width: int = 64) -> np.ndarray:
    ramp = np.linspace(10, 240, width, dtype=np.uint8)
    return np.repeat(np.tile(ramp, (height, 1))[..., None], 3, axis=2)


def test_palette_holds_the_colours_for_eyes_as_rgb():
    table = palette(CLASSES)
    assert table.shape == (256, 3)
    assert table.dtype == np.uint8
    assert tuple(table[1]) == ROAD
    assert tuple(table[2]) == PERSON
    assert not table[3:].any()


def test_palette_refuses_the_unlabelled_id():
    with pytest.raises(ValueError, match=r"'ghost' has id 255; expected 0 to 254"):
        palette((LabelClass(255, "ghost", (1, 2, 3)),))


def test_colorize_keeps_channel_order():
    mask = np.array([[1, 2], [0, 9]], np.uint8)
    assert colorize(mask, palette(CLASSES)).tolist() == [
        [list(ROAD), list(PERSON)],
        [[0, 0, 0], [0, 0, 0]],
    ]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_overlay_blends_labels_and_leaves_255_alone(alpha):
    rgb = gradient()
    mask = np.full(rgb.shape[:2], 255, np.uint8)
    mask[:, 20:40] = 2
    before = rgb.copy()
    shown = overlay(rgb, mask, palette(CLASSES), alpha)
    assert np.array_equal(rgb, before)
    assert np.array_equal(shown[mask == 255], rgb[mask == 255])
    expected = (1 - alpha) * rgb[mask == 2] + alpha * np.array(PERSON)
    assert np.abs(shown[mask == 2] - expected).max() <= 0.51


def test_overlay_draws_into_given_buffers():
    buffers = Buffers()
    masks = [np.full((48, 64), label, np.uint8) for label in (2, 255, 0)]
    pictures = [overlay(gradient(), mask, palette(CLASSES), 0.4, buffers) for mask in masks]
    assert pictures[0] is pictures[1] is pictures[2]
    # The newest one, with nothing left of those before.
    np.testing.assert_array_equal(pictures[0], overlay(gradient(), masks[2], palette(CLASSES), 0.4))


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_overlay_refuses_alpha_out_of_range(alpha):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        overlay(gradient(), np.zeros((48, 64), np.uint8), palette(CLASSES), alpha)


def test_overlay_refuses_another_size():
    with pytest.raises(ValueError, match=r"mask of shape \(48, 63\)"):
        overlay(gradient(), np.zeros((48, 63), np.uint8), palette(CLASSES))


def test_fit_keeps_aspect_ratio_on_bars():
    picture = np.full((50, 100), 200, np.uint8)
    tile = fit(picture, (100, 100))
    assert tile.shape == (100, 100, 3)
    assert (tile[25:75] == 200).all()
    assert (tile[:25] < 100).all()
    assert (tile[75:] < 100).all()


def test_contact_sheet_shows_every_pane_unchanged_where_no_scaling_is_needed():
    rng = np.random.default_rng(3)
    images = tuple(rng.integers(0, 255, (30, 40, 3), np.uint8) for _ in COLUMNS)
    row = SheetRow(images, ("t = 0.0 s", "night"))
    sheet = contact_sheet([row, row], Legend(CLASSES), title="A run", pane_width=40)
    windows = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], (30, 40))
    for image in images:
        hits = (windows == image[..., 0]).all(axis=(2, 3)).sum()
        assert hits == 2


def test_contact_sheet_legend_has_a_swatch_in_the_colour_of_each_present_class():
    row = SheetRow((gradient(),) * 4)
    sheet = contact_sheet([row], Legend(CLASSES, {2}), pane_width=100)
    colours = {tuple(pixel) for pixel in sheet.reshape(-1, 3).tolist()}
    assert PERSON in colours
    assert ROAD not in colours


def test_contact_sheet_wraps_a_long_legend_inside_the_page():
    many = tuple(LabelClass(i, f"class number {i}", (i, 200, 255 - i)) for i in range(40))
    row = SheetRow((gradient(),) * 4)
    narrow = contact_sheet([row], Legend(many), pane_width=80)
    wide = contact_sheet([row], Legend(many), pane_width=400)
    colours = {tuple(pixel) for pixel in narrow.reshape(-1, 3).tolist()}
    assert all(label.color in colours for label in many)
    assert narrow.shape[1] < wide.shape[1]


def test_contact_sheet_takes_mixed_sizes_and_grey_images():
    row = SheetRow((gradient(48, 64), np.zeros((51, 64), np.uint8), gradient(), gradient(24, 32)))
    sheet = contact_sheet([row], Legend(CLASSES), pane_width=64)
    assert sheet.ndim == 3
    assert sheet.dtype == np.uint8


def test_contact_sheet_refuses_nothing_and_uneven_rows():
    with pytest.raises(ValueError, match="at least one row"):
        contact_sheet([], Legend())
    with pytest.raises(ValueError, match="3 images, expected 4"):
        contact_sheet([SheetRow((gradient(),) * 3)], Legend())


def test_four_panes_has_even_size_and_places_the_images_in_reading_order():
    images = tuple(np.full((30, 40, 3), value, np.uint8) for value in (50, 100, 150, 200))
    frame = four_panes(SheetRow(images, ("t = 1.0 s",)), pane=(75, 101))
    height, width = frame.shape[:2]
    assert (height % 2, width % 2) == (0, 0)
    centres = [frame[60, 50, 0], frame[60, 155, 0], frame[139, 50, 0], frame[139, 155, 0]]
    assert centres == [50, 100, 150, 200]


def test_four_panes_refuses_three_images():
    with pytest.raises(ValueError, match="expected 4"):
        four_panes(SheetRow((gradient(),) * 3))


def test_a_white_line_runs_around_people():
    rgb, mask = np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), np.uint8)
    mask[10:20, 30:40] = 2
    mask[15, 41] = 255
    shown = overlay(rgb, mask, palette(CLASSES), 1.0)
    assert shown[15, 29].tolist() == shown[9, 29].tolist() == [255, 255, 255]
    assert tuple(shown[15, 28]) == ROAD
    assert tuple(shown[15, 30]) == PERSON
    assert overlay(rgb, mask, palette(CLASSES), 0.0).max() == 0


def test_a_video_frame_has_a_legend():
    row = SheetRow((gradient(),) * 4)
    plain, with_legend = (four_panes(row, legend=each) for each in (None, Legend(CLASSES, {2})))
    assert with_legend.shape[0] > plain.shape[0]
    assert PERSON in {tuple(pixel) for pixel in with_legend.reshape(-1, 3).tolist()}


def test_marks_have_boxes_in_light_class_colours_and_names_where_there_is_room():
    image = np.zeros((480, 640, 3), np.uint8)
    draw_marks(image, [Mark((100, 200, 300, 400), 1, "road", 12)], palette(CLASSES))
    assert not image[200:400, 100:300].any(), "the object itself stays as it is"
    assert image[300, 95:100].any()
    assert image[300, 300:305].any()
    assert image[180:199, 100:160].any(), "the name stands above"
    narrow = np.zeros_like(image)
    draw_marks(narrow, [Mark((100, 200, 112, 400), 1, "road", 12)], palette(CLASSES))
    assert narrow[:199].any()
    assert np.count_nonzero(narrow[:199].any(axis=(0, 2))) < 40, (
        "an id alone where a name is too wide"
    )


@pytest.mark.parametrize("box", [(-20, -20, 700, 500), (630, 470, 640, 480), (0, 0, 1, 1)])
def test_marks_at_the_border_stay_inside(box):
    image = np.zeros((480, 640, 3), np.uint8)
    draw_marks(image, [Mark(box, 1, "road", 12345)], palette(CLASSES))
    assert image.any()
