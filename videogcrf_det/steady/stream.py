"""Features of successive frames, steadied as they come."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from videogcrf_det.gcrf.chain import chain_backward, chain_forward, series
from videogcrf_det.gcrf.chain_field import Described, link
from videogcrf_det.motion.warp import Motion, moved

Features = Mapping[str, Tensor]  # maps (1, C, h, w) of a frame by name
# of the levels that are coupled, by name; maps (1, ..., h, w)
Descriptions = Mapping[str, Described]


@dataclass
class _Node:
    """A frame of the chain at one level."""

    mean: Tensor  # m (1, C, h, w)
    precision: Tensor  # p (1, 1, h, w)
    confidence: Tensor  # c (1, 1, h, w)
    embedding: Tensor  # t (1, D, h, w)
    unit: Tensor | None  # of the variance; None where nobody asks for it
    motion: Tensor | None = None  # to the next frame, once that is there
    link: Tensor | None = None


class _Solved(NamedTuple):
    """The solution of a frame at one level."""

    mean: Tensor  # x (1, C, h, w)
    precision: Tensor | None  # what its variance is a unit over; None where nobody asks for it
    unit: Tensor | None
    ahead: Tensor | None = None  # how much of that comes from the frames after it


class FieldStream:
    """The chain of a video at all levels, frame by frame.

    A frame's result is the exact average given all frames before it and ``latency`` frames after
    it; with motion the recursion is the same, and no longer the solution of one system. What is
    kept are maps of ``latency + 1`` frames.

    Args:
        latency: frames that a result waits for; 0: none. None: the whole video, all of which is
            then kept.
        strength: from 0 to 1, what links, and refinements of features, are multiplied with. 0 gives
            features back bit by bit.
    """

    def __init__(self, latency: int | None = 0, strength: float = 1.0) -> None:
        self.latency = latency
        self.strength = strength
        self._waiting: deque[Features] = deque()
        self._nodes: deque[dict[str, _Node]] = deque()

    def push(
        self, features: Features, described: Descriptions, motion: Motion | None = None
    ) -> Iterator[Features]:
        """Take the features of the next frame; give those that are done, none or one.

        Args:
            features: maps (1, C, h, w) by name.
            described: what fields say of them, for those that are coupled; others pass through.
            motion: between the frame before and this one; None: none.
        """
        before = self._nodes[-1] if self._nodes else {}
        self._nodes.append(
            {
                name: self._node(features[name], own, before.get(name), motion)
                for name, own in described.items()
            }
        )
        self._waiting.append(features)
        if self.latency is not None and len(self._waiting) > self.latency:
            yield self._first_result()

    def flush(self) -> Iterator[Features]:
        """The frames that are not given out yet: there are no more after them."""
        if self.latency is None:
            yield from self._all_results()
        while self._waiting:
            yield self._first_result()
        self._nodes.clear()

    def _node(
        self, features: Tensor, described: Described, before: _Node | None, motion: Motion | None
    ) -> _Node:
        unary = features.float()
        if described.change is not None and self.strength:
            unary = unary + self.strength * described.change
        if before is None:
            return _Node(
                *chain_forward(unary, described.confidence),
                described.confidence,
                described.embedding,
                described.unit,
            )
        size = unary.shape[2:]
        back = None if motion is None else motion.backward_at(size)
        mean, precision, embedding = (
            moved(maps, back) for maps in (before.mean, before.precision, before.embedding)
        )
        strength = self.strength * link(described.embedding, embedding)
        # of the frame before, seen from its own cells
        before.motion = None if motion is None else motion.forward_at(size)
        before.link = strength
        if before.motion is not None:
            ahead = moved(described.embedding, before.motion)
            before.link = self.strength * link(before.embedding, ahead)
        state = chain_forward(unary, described.confidence, (mean, precision), strength)
        return _Node(*state, described.confidence, described.embedding, described.unit)

    def _first_result(self) -> Features:
        """The result of the first frame that waits, given all that is there."""
        nodes = list(self._nodes)[-len(self._waiting) :]
        results = _solved(nodes[-1])
        for index in reversed(range(len(nodes) - 1)):
            results = _solved(nodes[index], nodes[index + 1], results)
        while len(self._nodes) > max(1, len(self._waiting)):
            self._nodes.popleft()  # the last one stays: the next frame needs it
        return _with(self._waiting.popleft(), results)

    def _all_results(self) -> Iterator[Features]:
        results: dict[str, _Solved] = {}
        done = []
        after: dict[str, _Node] | None = None
        while self._waiting:
            nodes = self._nodes.pop()
            results = _solved(nodes, after, results)
            after = nodes
            done.append(_with(self._waiting.pop(), results))
        yield from reversed(done)


def _solved(
    nodes: Mapping[str, _Node],
    after: Mapping[str, _Node] | None = None,
    results: Mapping[str, _Solved] | None = None,
) -> dict[str, _Solved]:
    """The solutions of a frame at all levels, from those of the next one if there is any."""
    if after is None or results is None:
        return {
            name: _Solved(node.mean, None if node.unit is None else node.precision, node.unit)
            for name, node in nodes.items()
        }
    return {name: _backward(nodes[name], after[name], results[name]) for name in nodes}


def _with(features: Features, results: Mapping[str, _Solved]) -> Features:
    """Features with the solutions in their places, and the variances of those."""
    made = {name: solved.mean.to(features[name].dtype) for name, solved in results.items()}
    variances = {
        variance_of(name): solved.unit / solved.precision
        for name, solved in results.items()
        if solved.precision is not None and solved.unit is not None
    }
    return {**features, **made, **variances}


def variance_of(name: str) -> str:
    """The name of the variance (M, 1, h, w) of a map of which that is known."""
    return f"{name}_variance"


def _backward(node: _Node, next_node: _Node, after: _Solved) -> _Solved:
    assert node.link is not None
    mean = chain_backward(node.mean, node.precision, node.link, moved(after.mean, node.motion))
    if after.precision is None:
        return _Solved(mean, None, None)
    ahead = next_node.confidence if after.ahead is None else next_node.confidence + after.ahead
    through = series(moved(ahead, node.motion), node.link)
    return _Solved(mean, node.precision + through, node.unit, through)


def steady_clip(
    features: Features,
    described: Descriptions,
    motion: Sequence[Motion | None],
    strength: float = 1.0,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A clip's averages given all of its frames, and given those up to each frame alone.

    Args:
        features: maps (V, C, h, w) by name.
        described: the same, of those that are coupled.
        motion: V, between each frame and the one before.
        strength: see FieldStream.

    Returns:
        maps (V, C, h, w) by name, in float32, twice; of maps with a description, their variances
        (V, 1, h, w) as well.
    """
    stream = FieldStream(None, strength)
    for index, step in enumerate(motion):
        row = {name: features[name][index : index + 1] for name in described}
        deque(stream.push(row, described_row(described, index), step))
    pairs = zip(stream._waiting, stream._nodes, strict=True)
    past = [_with(maps, _solved(nodes)) for maps, nodes in pairs]
    whole = list(stream.flush())
    return tuple(
        {name: torch.cat([row[name] for row in rows]) for name in rows[0]} for rows in (whole, past)
    )  # type: ignore[return-value]


def described_row(described: Descriptions, index: int) -> Descriptions:
    """The description of one of M frames."""
    place = slice(index, index + 1)
    return {
        name: Described(
            own.embedding[place],
            own.confidence[place],
            None if own.change is None else own.change[place],
            own.unit,
        )
        for name, own in described.items()
    }
