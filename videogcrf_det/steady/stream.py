"""Features of successive frames, steadied as they come."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from videogcrf_det.gcrf.chain import chain_backward, chain_forward
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
    embedding: Tensor  # t (1, D, h, w)
    motion: Tensor | None = None  # to the next frame, once that is there
    link: Tensor | None = None


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
            return _Node(*chain_forward(unary, described.confidence), described.embedding)
        size = features.shape[2:]
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
        return _Node(*state, described.embedding)

    def _first_result(self) -> Features:
        """That of the first frame that waits, given all that is there."""
        nodes = list(self._nodes)[-len(self._waiting) :]
        results = {name: node.mean for name, node in nodes[-1].items()}
        for earlier in reversed(nodes[:-1]):
            results = {name: _backward(node, results[name]) for name, node in earlier.items()}
        while len(self._nodes) > max(1, len(self._waiting)):
            self._nodes.popleft()  # the last one stays: the next frame needs it
        return _with(self._waiting.popleft(), results)

    def _all_results(self) -> Iterator[Features]:
        results: dict[str, Tensor] = {}
        done = []
        while self._waiting:
            nodes = self._nodes.pop()
            results = {
                name: _backward(node, results[name]) if results else node.mean
                for name, node in nodes.items()
            }
            done.append(_with(self._waiting.pop(), results))
        yield from reversed(done)


def _backward(node: _Node, after: Tensor) -> Tensor:
    assert node.link is not None
    return chain_backward(node.mean, node.precision, node.link, moved(after, node.motion))


def _with(features: Features, results: Mapping[str, Tensor]) -> Features:
    return {**features, **{k: v.to(features[k].dtype) for k, v in results.items()}}


def steady_clip(
    features: Features, described: Descriptions, motion: Sequence[Motion | None]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A clip's averages given all of its frames, and given those up to each frame alone.

    Args:
        features: maps (V, C, h, w) by name.
        described: the same, of those that are coupled.
        motion: V, between each frame and the one before.

    Returns:
        maps (V, C, h, w) by name, in float32, twice.
    """
    stream = FieldStream(latency=None)
    for index, step in enumerate(motion):
        row = {name: features[name][index : index + 1] for name in described}
        deque(stream.push(row, described_row(described, index), step))
    past = [{name: node.mean for name, node in nodes.items()} for nodes in stream._nodes]
    return tuple(
        {name: torch.cat([row[name] for row in rows]) for name in described}
        for rows in (list(stream.flush()), past)
    )  # type: ignore[return-value]


def described_row(described: Descriptions, index: int) -> Descriptions:
    """What is said of one of M frames."""
    place = slice(index, index + 1)
    return {
        name: Described(
            own.embedding[place],
            own.confidence[place],
            None if own.change is None else own.change[place],
        )
        for name, own in described.items()
    }
