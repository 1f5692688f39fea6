"""Streams that are read ahead, or by several functions at the same time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(items: Iterable[Item], count: int = 2) -> Iterator[Item]:
    """The items, read in a thread, ``count`` of them before they are asked for.

    What reads files and decodes images then works while a model waits for its GPU. What goes wrong
    in the thread goes wrong here, after the items before it.
    """
    source, end = iter(items), object()
    thread = ThreadPoolExecutor(1)
    try:
        waiting = deque(thread.submit(next, source, end) for _ in range(count))
        while waiting:
            item = waiting.popleft().result()
            if item is end:
                return
            waiting.append(thread.submit(next, source, end))
            yield item  # type: ignore[misc]
            del item
    finally:
        thread.shutdown(cancel_futures=True)


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
