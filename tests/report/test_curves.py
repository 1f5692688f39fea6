"""The charts of a training on the report page."""

import math

import pytest

from videogcrf_det.report.curves import BOTTOM, RIGHT, TOP, draw_charts


def points_of(line):
    return [tuple(map(float, point.split(","))) for point in line.split()]


def test_values_and_ticks_are_on_one_scale():
    """A tick of an axis is where the curve has its value."""
    run = [{"iteration": 100 * i, "total_loss": 2.0 - i / 10, "lr": 0.002} for i in range(11)]
    baseline = [{"iteration": 0, "total_loss": 4.0}, {"iteration": 1000, "total_loss": 1.0}]
    loss, rate = draw_charts([run, baseline])
    assert (loss.title, rate.title) == ("Total loss", "Learning rate")
    (kind, points), (other, base) = [(kind, points_of(line)) for kind, line in loss.lines]
    assert (kind, other) == ("run", "baseline")
    places = {text: y for y, text in loss.y_ticks}
    assert places["0"] == BOTTOM
    assert [points[0][1], points[-1][1]] == pytest.approx([places["2"], places["1"]], abs=0.1)
    assert base[0][1] == pytest.approx(places["4"], abs=0.1)
    assert TOP < base[0][1] < points[0][1]
    (zero, first), *_, (thousand, last) = loss.x_ticks
    assert (first, last) == ("0", "1000")
    assert [points[0][0], points[-1][0]] == pytest.approx([zero, thousand], abs=0.1)
    assert loss.left <= zero < thousand <= RIGHT
    assert [text for _, text in rate.y_ticks][-1] == "0.0020"
    assert len({y for _, y in points_of(rate.lines[0][1])}) == 1
    assert rate.lines[1] == ("baseline", "")


@pytest.mark.parametrize("value", [0.0, -1.0, 3])
def test_a_single_value(value):
    (chart,) = draw_charts([[{"iteration": 19, "total_loss": value}]])
    ((x, y),) = points_of(chart.lines[0][1])
    assert chart.left < x < RIGHT
    assert y == (TOP if value > 0 else BOTTOM)


def test_losses_that_are_no_numbers_are_left_out():
    rows = [{"iteration": i, "total_loss": v} for i, v in enumerate((1.0, math.nan, math.inf, 2.0))]
    (chart,) = draw_charts([rows])
    assert len(points_of(chart.lines[0][1])) == 2
    assert draw_charts([rows[1:3]]) == []
