"""One stream read by several functions at the same time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_step(
    items: Iterable[Item],
    functions: Sequence[Callable[[Iterator[Item]], Iterator[Result]]],
) -> Iterator[tuple[Item, list[Result]]]:
    """Every item with what each function makes of it.

    Unlike itertools.tee, which keeps dozens of items that nobody needs any more, this keeps those
    alone that some function has not read or not given a result for.

    Args:
        items: may be endless.
        functions: give one result for each item, in order, and may read ahead.
    """
    source = iter(items)
    waiting: deque[Item] = deque()
    queues: list[deque[Item]] = [deque() for _ in functions]

    def read(queue: deque[Item]) -> Iterator[Item]:
        while True:
            if not queue:
                try:
                    item = next(source)
                except StopIteration:
                    return
                for each in (waiting, *queues):
                    each.append(item)
            yield queue.popleft()

    made = [function(read(queue)) for function, queue in zip(functions, queues, strict=True)]
    for results in zip(*made, strict=True):
        yield waiting.popleft(), list(results)
