"""Several functions that read one stream."""

import threading
import weakref
from itertools import count, islice

import pytest

from videogcrf_det.streams import in_step, read_ahead


class Item:
    def __init__(self, number):
        self.number = number


def ahead_by(lead):
    def function(items):
        read = list(islice(items, lead))
        for item in items:
            read.append(item)
            yield read.pop(0).number
        yield from (item.number for item in read)

    return function


def test_results_belong_to_their_items():
    found = list(in_step(map(Item, range(5)), [ahead_by(0), ahead_by(2), ahead_by(9)]))
    assert [(item.number, results) for item, results in found] == [(n, [n] * 3) for n in range(5)]


def test_an_endless_stream_is_kept_no_longer_than_needed():
    alive = weakref.WeakSet()

    def items():
        for number in count():
            item = Item(number)
            alive.add(item)
            yield item
            del item

    for item, _ in islice(in_step(items(), [ahead_by(0), ahead_by(3)]), 200):
        number = item.number
        del item
        assert len(alive) <= 6
    assert number == 199


def test_a_function_that_forgets_an_item():
    with pytest.raises(ValueError, match="shorter"):
        list(in_step(map(Item, range(3)), [ahead_by(0), lambda items: islice(items, 2)]))


def test_errors_of_the_stream_are_passed_on():
    def items():
        yield Item(0)
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        list(in_step(items(), [ahead_by(0), ahead_by(0)]))


def test_reading_ahead_in_a_thread():
    read, threads = [], set()

    def source():
        for number in range(6):
            read.append(number)
            threads.add(threading.get_ident())
            yield Item(number)

    given, alive = [], weakref.WeakSet()
    for item in read_ahead(source(), 2):
        given.append(item.number)
        alive.add(item)
        assert len(alive) == 1  # none is kept that was given out
        assert len(read) <= item.number + 3
        del item
    assert given == read == list(range(6))
    assert threading.get_ident() not in threads


def test_what_goes_wrong_ahead_is_raised_in_its_place():
    def source():
        yield 0
        yield 1
        raise OSError("the disk is gone")

    items = read_ahead(source(), 3)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)


def test_a_stream_that_is_left_is_read_no_further():
    numbers = count()
    for item in read_ahead(numbers, 2):
        if item == 3:
            break
    before = next(numbers)
    assert before <= 7
    assert next(numbers) == before + 1
