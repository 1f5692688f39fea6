"""Videos longer than the temporal context: overlapping windows, averaged (Sec. 3.1)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

Item = TypeVar("Item")


@dataclass
class _Entry(Generic[Item]):
    """An item and the sum of what windows said about it."""

    item: Item
    total: Tensor | None = None
    count: int = 0

    def add(self, result: Tensor) -> None:
        self.total = result if self.total is None else self.total + result
        self.count += 1

    def mean(self) -> tuple[Item, Tensor]:
        assert self.total is not None
        return self.item, self.total / self.count


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

    window: deque[_Entry[Item]] = deque(maxlen=length)
    waiting: deque[_Entry[Item]] = deque()  # read, and not given out
    for read, item in enumerate(items, start=1):
        entry = _Entry(item)
        window.append(entry)
        waiting.append(entry)
        if read >= length and (read - length) % step == 0:
            for entry, result in zip(window, infer([e.item for e in window]), strict=True):
                entry.add(result)
            for _ in range(step):  # those before the next window's start
                yield waiting.popleft().mean()
    if waiting and not waiting[-1].count:
        for entry, result in zip(window, infer([e.item for e in window]), strict=True):
            if not entry.count:
                entry.add(result)
    for entry in waiting:
        yield entry.mean()
