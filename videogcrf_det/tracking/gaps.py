"""Objects that are missed for a few frames between two sightings, filled in from both sides.

Letters: N instances of a frame, H x W its size, G frames of a gap.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from numpy.typing import NDArray

from videogcrf_det.motion.flow import DISFlow

Frame = NDArray[np.uint8]  # (H, W, 3), BGR
Mask = NDArray[np.bool_]  # (H, W)
SoftMask = NDArray[np.float32]  # (H, W), from 0 to 1
Flow = Callable[[Frame, Frame], NDArray[np.float32]]  # see motion/flow.py


@dataclass
class _Kept:
    """A frame that may still get instances."""

    frame: Frame
    found: Instances
    filled: list[Instances] = field(default_factory=list)
    # by whether it leads to the frame after this one, or to the one before: see motion/flow.py
    ways: dict[bool, NDArray[np.float32]] = field(default_factory=dict)

    def all_instances(self) -> Instances:
        found = Instances.cat([self.found, *self.filled]) if self.filled else self.found
        found.filled = torch.arange(len(found)) >= len(self.found)
        return found


def fill_gaps(
    predictions: Iterable[tuple[Frame, Instances]], longest: int, flow: Flow | None = None
) -> Iterator[tuple[Frame, Instances]]:
    """Add the objects that were missed for at most ``longest`` frames between two sightings.

    Their masks are moved along the optical flow from the sighting before and from the one after,
    and averaged there, the nearer one counting more. Where the two sides have nothing in common,
    nothing is added.

    Args:
        predictions: frames (H, W, 3), BGR, with instances that have pred_boxes, pred_masks, scores
            and track_ids.
        longest: frames of a gap; a prediction comes that many frames after its frame.
        flow: by default DISFlow.

    Yields:
        each frame with its instances, which have a field ``filled``, (N,) bool, as well. Those that
        were added come last, with the lower score of the two sightings.
    """
    flow = DISFlow() if flow is None else flow
    window: deque[_Kept] = deque(maxlen=longest + 2)
    waiting: deque[_Kept] = deque()  # those of the window that were not given yet
    for frame, instances in predictions:
        window.append(_Kept(frame, instances))
        waiting.append(window[-1])
        _close_gaps(list(window), flow)
        if len(waiting) > longest:
            kept = waiting.popleft()
            yield kept.frame, kept.all_instances()
    for kept in waiting:
        yield kept.frame, kept.all_instances()


def _close_gaps(window: list[_Kept], flow: Flow) -> None:
    """Fill in what the last frame shows again, on the frames since it was seen."""
    ids = [kept.found.track_ids.tolist() for kept in window]
    for row, identity in enumerate(ids[-1]):
        start = next((i for i in range(len(ids) - 2, -1, -1) if identity in ids[i]), None)
        if start is None or start == len(window) - 2:
            continue
        part = window[start:]
        if any(kept.frame.shape != part[0].frame.shape for kept in part):
            continue
        before = part[0].found[ids[start].index(identity)]
        after = part[-1].found[row]
        for kept, mask in zip(part[1:-1], _between(part, before, after, flow), strict=True):
            if mask.any():
                kept.filled.append(_instance(before, after, mask))


def _between(part: list[_Kept], before: Instances, after: Instances, flow: Flow) -> list[Mask]:
    """The G masks of an object on the frames between the first and the last one."""
    gap = len(part) - 2
    ahead, back = [_soft(before)], [_soft(after)]
    for i in range(1, gap + 1):
        ahead.append(_moved(ahead[-1], _way(part[i - 1], part[i], False, flow)))
        back.append(_moved(back[-1], _way(part[-i], part[-1 - i], True, flow)))
    masks = []
    for i in range(1, gap + 1):
        share = i / (gap + 1)  # of the sighting after
        sides = ahead[i], back[gap + 1 - i]
        common = np.minimum(*sides).max(initial=0) >= 0.5
        # masks stay soft until here, so that their outlines are averaged, not the nearer one alone
        masks.append(common & ((1 - share) * sides[0] + share * sides[1] >= 0.5))
    return masks


def _way(other: _Kept, kept: _Kept, to_next: bool, flow: Flow) -> NDArray[np.float32]:
    """The flow (H, W, 2) from a frame to its neighbour, computed once."""
    if to_next not in kept.ways:
        kept.ways[to_next] = flow(other.frame, kept.frame)
    return kept.ways[to_next]


def _soft(instance: Instances) -> SoftMask:
    return instance.pred_masks[0].numpy().astype(np.float32)


def _moved(mask: SoftMask, way: NDArray[np.float32]) -> SoftMask:
    rows, columns = np.indices(mask.shape, np.float32)
    places = columns + way[..., 0], rows + way[..., 1]
    return np.asarray(cv2.remap(mask, *places, cv2.INTER_LINEAR), np.float32)


def _instance(before: Instances, after: Instances, mask: Mask) -> Instances:
    """One instance as it was before, with another mask."""
    filled = Instances(before.image_size, **before.get_fields())
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    corners = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    filled.pred_masks = torch.from_numpy(mask)[None]
    filled.pred_boxes = Boxes(torch.tensor([corners], dtype=before.pred_boxes.tensor.dtype))
    filled.scores = torch.minimum(before.scores, after.scores)
    return filled
