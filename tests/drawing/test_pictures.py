import numpy as np
import pytest

from videogcrf_det.drawing import TrackColours, draw_instances, side_by_side
from videogcrf_det.drawing.colours import palette_colour
from videogcrf_det.drawing.overlay import display_size
from videogcrf_det.drawing.panels import shrink, tile


def box(x, y, size=10, shape=(60, 80)):
    mask = np.zeros(shape, bool)
    mask[y : y + size, x : x + size] = True
    return mask


def test_identities_that_come_back_have_their_colours_and_new_ones_are_free():
    colours = TrackColours(memory=2)
    assert colours.update([1, 2]) == [0, 1]
    assert colours.update([2]) == [1]
    assert colours.update([]) == []
    assert colours.update([1, 3]) == [0, 2]
    # the second was away for three frames: its colour may be used again
    assert colours.update([4, 1]) == [1, 0]


def test_known_colours_are_kept_from_others():
    colours = TrackColours()
    assert colours.update([1, 2]) == [0, 1]
    # the first turns out to be 1: what had that colour gets another, and both keep theirs
    assert colours.update([1, 2], [1, None], [0]) == [1, 2]
    assert colours.update([2, 1, 3]) == [2, 1, 3]


def test_identities_are_coloured_in_order_of_appearance():
    colours = TrackColours()
    assert colours.update(["b", "a"]) == [0, 1]
    assert colours.update(["c", "a"]) == [2, 1]


def test_dashed_outlines_are_partly_those_of_others():
    image = np.full((400, 400, 3), 128, np.uint8)
    mask = box(100, 100, 200, (400, 400))[None]
    whole = draw_instances(image, mask, [3], dashed=[False])
    np.testing.assert_array_equal(whole, draw_instances(image, mask, [3]))
    dashed = draw_instances(image, mask, [3], dashed=[True])
    edge = np.s_[99, 110:290]  # above the mask
    same = (dashed[edge] == whole[edge]).all(-1)
    assert 0.2 < same.mean() < 0.8
    np.testing.assert_array_equal(dashed[120:280, 120:280], whole[120:280, 120:280])


def test_overlays_tint_instances_and_nothing_else():
    image = np.full((60, 80, 3), 128, np.uint8)
    mask = box(20, 20, 20)
    picture = draw_instances(image, mask[None], [3])
    assert picture.shape[:2] == display_size(60, 80)
    scale = picture.shape[0] // 60
    inside = picture[30 * scale, 30 * scale].astype(int)
    direction = np.asarray(palette_colour(3)) - 128
    assert ((inside - 128) * direction >= 0).all()
    assert np.abs(inside - 128).max() > 20
    assert (picture[: 10 * scale] == 128).all()
    assert (image == 128).all()


def test_do_not_care_is_hatched_in_grey():
    image = np.full((60, 80, 3), (200, 40, 40), np.uint8)
    picture = draw_instances(image, box(20, 20, 20)[None], [0], crowd=[True])
    scale = picture.shape[0] // 60
    region = picture[22 * scale : 38 * scale, 22 * scale : 38 * scale].astype(int)
    assert region[..., 1].std() > 10  # stripes
    assert (np.ptp(region, axis=2).mean()) < 160  # less saturated than what is below


def test_labels_change_the_picture():
    image = np.full((60, 80, 3), 128, np.uint8)
    with_label = draw_instances(image, box(20, 20)[None], [0], labels=["person 99%"])
    assert (with_label != draw_instances(image, box(20, 20)[None], [0])).any()


@pytest.mark.parametrize("scale", [1, 4, 36])
def test_overlays_at_a_frame_s_own_size(scale):
    """Lines and labels are large enough on large frames: they fill the same share of them."""
    image = np.full((60 * scale, 80 * scale, 3), 128, np.uint8)
    mask = np.kron(box(30, 40), np.ones((scale, scale))).astype(bool)[None]
    plain = draw_instances(image, mask, [0], own_size=True)
    named = draw_instances(image, mask, [0], labels=["person 99%"], own_size=True)
    assert plain.shape == named.shape == image.shape
    label = np.argwhere((plain != named).any(axis=2))
    height, width = np.ptp(label, axis=0) + 1
    assert height >= max(12, 0.015 * max(image.shape))
    assert width > 4 * height
    across = plain[45 * scale, 25 * scale : 35 * scale].astype(int)  # the left edge of the mask
    line = np.abs(across - palette_colour(0)).sum(axis=1) < 60
    assert max(1, 0.002 * max(image.shape)) <= line.sum() <= max(3, 0.005 * max(image.shape))


def test_panels_stand_side_by_side():
    panels = [("a", np.full((50, 70, 3), v, np.uint8)) for v in (10, 200)]
    picture = side_by_side(panels)
    assert picture.shape[1] >= 140
    assert picture.shape[0] > 50
    assert {10, 200} <= set(np.unique(picture).tolist())


def test_four_wide_panels_stand_in_two_rows():
    """They keep their order, and no row or column of them is lost."""

    def grey_levels(height, width, count):
        panels = [
            (f"{i}", np.full((height, width, 3), 50 * i + 40, np.uint8)) for i in range(count)
        ]
        picture = tile(panels)
        places = [np.argwhere((picture == 50 * i + 40).all(axis=2)) for i in range(count)]
        assert all(len(place) >= height * width for place in places)
        return picture, [place.min(axis=0).tolist() for place in places]

    _, ((y0, x0), (y1, x1), (y2, x2), (y3, x3)) = grey_levels(40, 70, 4)
    assert y0 == y1 < y2 == y3
    assert x0 == x2 < x1 == x3
    for shape in ((70, 40, 4), (40, 70, 3)):
        _, places = grey_levels(*shape)
        assert len({y for y, _ in places}) == 1
        assert sorted(x for _, x in places) == [x for _, x in places]


def test_wide_pictures_are_shrunk():
    picture = np.full((90, 200, 3), 128, np.uint8)
    assert shrink(picture, 200) is picture
    small = shrink(picture, 100)
    assert small.shape == (45, 100, 3)
    assert (small == 128).all()


@pytest.mark.parametrize(("height", "width"), [(120, 200), (240, 427), (480, 854), (1080, 1920)])
def test_panels_are_of_a_readable_size(height, width):
    rows, columns = display_size(height, width)
    assert abs(rows / columns - height / width) < 0.02
    assert 320 <= columns <= 960  # labels can be read, and three panels fit a screen
