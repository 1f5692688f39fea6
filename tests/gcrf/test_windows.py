import itertools
import weakref

import pytest
import torch

from videogcrf_det.gcrf import average_windows


def infer(window):
    """A result that tells item, window and place in the window apart."""
    total = sum(item**2 for item in window)
    return [torch.tensor([item, total, place]).double() for place, item in enumerate(window)]


def brute_force(items, length, step):
    """All windows first, then their averages. The last window is moved back to the video's end,
    where it speaks for the items that no other window covers."""
    starts = [start for start in range(len(items)) if start + length <= len(items)]
    regular = starts[::step]
    results = {index: [] for index in range(len(items))}
    for start in regular:
        window = infer(items[start : start + length])
        for place, result in enumerate(window):
            results[start + place].append(result)
    last_start = max(0, len(items) - length)
    for place, result in enumerate(infer(items[last_start:])):
        if not any(start <= last_start + place < start + length for start in regular):
            results[last_start + place].append(result)
    return [torch.stack(results[index]).mean(dim=0) for index in range(len(items))]


@pytest.mark.parametrize(
    ("length", "step"), [(length, step) for length in (1, 2, 4, 5) for step in range(1, length + 1)]
)
@pytest.mark.parametrize("num_items", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12])
def test_equals_brute_force(num_items, length, step):
    items = [7 * item + 3 for item in range(num_items)]
    given = list(average_windows(iter(items), infer, length, step))
    assert [item for item, _ in given] == items
    for (_, mean), expected in zip(given, brute_force(items, length, step), strict=True):
        torch.testing.assert_close(mean, expected)


def test_an_example_by_hand():
    """4 items, windows 012 and 123: the outer items are seen once, the inner ones twice."""
    results = {(0, 1, 2): [10.0, 20.0, 30.0], (1, 2, 3): [40.0, 50.0, 60.0]}
    given = average_windows(
        range(4), lambda window: [torch.tensor(value) for value in results[tuple(window)]], 3
    )
    assert [(item, mean.item()) for item, mean in given] == [(0, 10), (1, 30), (2, 40), (3, 60)]


def test_step_is_one_unless_given():
    items = list(range(6))
    default = [mean for _, mean in average_windows(items, infer, 4)]
    assert torch.equal(torch.stack(default), torch.stack(brute_force(items, 4, 1)))


def test_a_short_video_is_one_window():
    windows = []

    def record(window):
        windows.append(list(window))
        return infer(window)

    assert len(list(average_windows(range(3), record, 5))) == 3
    assert windows == [[0, 1, 2]]


def test_every_window_is_inferred_once():
    windows = []

    def record(window):
        windows.append(tuple(window))
        return infer(window)

    list(average_windows(range(8), record, 4, 3))
    assert windows == [(0, 1, 2, 3), (3, 4, 5, 6), (4, 5, 6, 7)]


@pytest.mark.parametrize(("length", "step"), [(1, 1), (4, 1), (4, 2), (4, 3), (4, 4)])
def test_reads_no_further_than_it_must(length, step):
    read = 0

    def endless():
        nonlocal read
        for item in itertools.count():
            read += 1
            yield item

    for emitted, (item, _) in enumerate(average_windows(endless(), infer, length, step)):
        assert item == emitted
        assert read - (emitted + 1) <= length - 1
        if emitted == 30:
            break


def test_keeps_no_more_items_than_a_window():
    class Item:
        pass

    alive = weakref.WeakSet()

    def items():
        for _ in range(25):
            item = Item()
            alive.add(item)
            yield item
            del item

    def zeros(window):
        return [torch.zeros(1)] * len(window)

    for item, _ in average_windows(items(), zeros, 4):
        del item
        assert len(alive) <= 4 + 1  # the window, and the item being read


def test_results_of_the_caller_are_left_alone():
    """`infer` may hand out the same tensors again."""
    ones = [torch.ones(2), torch.ones(2)]
    means = [mean for _, mean in average_windows(range(5), lambda window: ones, 2)]
    assert torch.equal(torch.stack(means), torch.ones(5, 2))
    assert torch.equal(torch.stack(ones), torch.ones(2, 2))


@pytest.mark.parametrize(
    ("length", "step", "message"),
    [(0, 1, "length=0"), (-2, 1, "length=-2"), (4, 0, "step=0"), (4, 5, "length=4.*step=5")],
)
def test_bad_arguments(length, step, message):
    with pytest.raises(ValueError, match=message):
        list(average_windows(range(6), infer, length, step))
