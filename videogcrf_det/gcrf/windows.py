"""Videos longer than the temporal context: overlapping windows, averaged (Sec. 3.1)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from torch import Tensor

Item = TypeVar("Item")


def average_windows(
    items: Iterable[Item],
    infer: Callable[[list[Item]], Sequence[Tensor]],
    length: int,
    step: int = 1,
) -> Iterator[tuple[Item, Tensor]]:
    """Infer on windows of ``length`` successive items and average what overlapping ones say.

    Windows start at items 0, step, 2 step, ...; if the last of them ends before the items do, one
    more covers the last ``length`` items and speaks for those that no other window covers. An item
    is given out as soon as no later window can cover it: ``length - 1`` items are read ahead at
    most, and as many are kept. Fewer items than ``length`` are one window.

    With ``length=4, step=1`` and 6 items: windows 0123, 1234, 2345; item 2 is the mean of three.
    With ``length=4, step=3`` and 8 items: windows 0123, 3456, then 4567 for item 7 alone.

    Args:
        items: the frames, read as they are needed; may be endless.
        infer: the results of one window, one tensor per item.
        length: items of a window, at least 1.
        step: items from one window's start to the next, from 1 to ``length``.

    Yields:
        Every item with the mean of its results, in order.
    """
    if length < 1:
        raise ValueError(f"a window needs at least 1 frame, got length={length}")
    if not 1 <= step <= length:
        raise ValueError(f"windows must advance by 1 to length={length} frames, got step={step}")

    # the last `length` items at most; those before `given` are kept for the final window alone
    window: deque[Item] = deque(maxlen=length)
    sums: deque[tuple[Tensor, int]] = deque()  # running sums of items read and not given out
    read = covered = 0  # items read so far; items that a window has covered

    def add(results: Sequence[Tensor], first_index: int) -> None:
        nonlocal covered
        given = covered - len(sums)
        for index, result in enumerate(results, start=first_index):
            if index < given:
                continue
            if index < covered:
                total, count = sums[index - given]
                sums[index - given] = (total + result, count + 1)
            else:
                sums.append((result, 1))
                covered += 1

    def give(until: int) -> Iterator[tuple[Item, Tensor]]:
        while sums and covered - len(sums) < until:
            item = window[len(window) - (read - (covered - len(sums)))]
            total, count = sums.popleft()
            yield item, total / count

    for item in items:
        window.append(item)
        read += 1
        if read >= length and (read - length) % step == 0:
            add(infer(list(window)), read - length)
            yield from give(until=read - length + step)
    if read > covered:
        start = read - len(window)
        results = infer(list(window))
        first_uncovered = covered
        add(results[first_uncovered - start :], first_uncovered)
    yield from give(until=read)
