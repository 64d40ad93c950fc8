# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from segmif_ros.report.page import number
from segmif_ros.report.svg_plots import (
    Line,
    bars,
    confusion_plot,
    element,
    line_plot,
    reliability_plot,
    ticks,
)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 1, [0, 0.5, 1.0]),
        (0, 10, [0, 5, 10]),
        (-3, 3, [-4, -2, 0, 2, 4]),
        (0, 0, [0, 0.5]),
        (7, 7, [6, 8]),
    ],
)
def test_ticks_are_round_and_span_the_values(low, high, wanted):
    assert ticks(low, high) == pytest.approx(wanted)


def points(text: str) -> list[str]:
    return re.findall(r'<polyline[^>]*points="([^"]+)"', text)


def test_a_line_breaks_at_gaps_and_where_the_next_bag_begins():
    line = Line("y", [(0, 1), (1, 2), (2, None), (3, 1), (4, 1), (0, 2), (1, 2)])
    assert [len(each.split()) for each in points(line_plot("t", "ms", [line]))] == [2, 2, 2]


def test_a_single_point_is_a_dot_and_none_is_no_plot():
    assert "<circle" in line_plot("t", "ms", [Line("y", [(3.0, 5.0)])])
    bags_of_one = [(0.0, 5.0), (0.0, 6.0), (0.0, 7.0)]
    assert line_plot("t", "ms", [Line("y", bags_of_one)]).count("<circle") == 3
    assert line_plot("t", "ms", [Line("y", [(3.0, None)])]) == ""
    assert line_plot("t", "ms", []) == ""


def test_larger_values_are_drawn_higher_and_all_inside():
    (drawn,) = points(line_plot("t", "ms", [Line("y", [(0, -5.0), (1, 0.0), (2, 20.0)])]))
    places = [tuple(map(float, each.split(","))) for each in drawn.split()]
    assert places[0][1] > places[1][1] > places[2][1]
    assert all(0 <= x <= 360 and 0 <= y <= 190 for x, y in places)


def test_a_plot_has_its_numbers_as_text():
    text = line_plot("Shift", "px", [Line("dx", [(0, 1.0), (1, 3.0), (2, 8.0)])])
    assert "smallest 1, median 3, largest 8" in re.search(r'aria-label="([^"]+)"', text)[1]


def test_bars_are_sorted_and_proportional():
    text = bars("Drops", {"few": 10, "many": 40, "none": 0}, "frames")
    widths = [float(w) for w in re.findall(r'<rect[^>]* width="([\d.]+)"', text)]
    assert widths[0] == pytest.approx(4 * widths[1])
    assert text.index("many") < text.index("few")
    assert ">none<" not in text


def test_confusion_shows_true_classes_and_what_they_were_taken_for():
    text = confusion_plot(["a", "b", "c", "d"], [[8, 2, 0, 0], [0, 0, 0, 0], [0, 0, 5, 0], [0] * 4])
    assert "<title>a classified as b: 20.0 %</title>" in text
    assert text.count('class="hit"') == 2
    assert "b classified as" not in text, "no truth of b"
    assert confusion_plot(["a"], [[0]]) == ""


def test_plots_are_xml():
    for text in (
        line_plot("a & b", "<ms>", [Line("<y>", [(0, 1), (1, 2)])]),
        bars("<t>", {'"q"': 1}, "n"),
        confusion_plot(["<a>"], [[1]]),
    ):
        assert ElementTree.fromstring(text) is not None  # noqa: S314 - our own text


def test_text_is_escaped_and_markup_is_not():
    assert element("p", "<b>", Markup("<i>x</i>")) == "<p>&lt;b&gt;<i>x</i></p>"
    assert element("a", title='"><script>') == '<a title="&#34;&gt;&lt;script&gt;"></a>'
    assert element("i", title=None, class_="x") == '<i class="x"></i>'


def test_the_reliability_of_the_largest_classes_is_drawn_beside_what_would_be_exact():
    bins = [[0.3, 0.2, 0.5], [0.9, 0.6, 0.5]]
    classes = {name: {"pixels": 10 * i, "bins": bins} for i, name in enumerate("abcd")}
    text = reliability_plot(classes)
    assert len(points(text)) == 4
    assert ">exact<" in text
    assert ">a<" not in text


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (1234567, "1 234 567"), (0.12345, "0.123"), ("x", "x")]
)
def test_numbers_are_written_for_people(value, shown):
    assert number(value) == shown
