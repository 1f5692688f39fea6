"""The time that the association of instances with their tracks takes."""

import statistics
import time

import numpy as np
import torch
from detectron2.structures import Instances

from videogcrf_det.tracking import MaskTracker

HEIGHT, WIDTH = 480, 854
NUM_INSTANCES = 20


def drifting_ellipses(shift: int) -> Instances:
    """Instances that overlap their neighbours, moved to the right by ``shift`` pixels."""
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    x = 20 + 42 * np.arange(NUM_INSTANCES)[:, None, None] + shift
    y = 60 + 90 * (np.arange(NUM_INSTANCES)[:, None, None] % 5)
    masks = ((columns - x) / 30) ** 2 + ((rows - y) / 60) ** 2 < 1
    classes = torch.zeros(NUM_INSTANCES, dtype=torch.int64)
    return Instances((HEIGHT, WIDTH), pred_masks=torch.from_numpy(masks), pred_classes=classes)


def time_association(repeats: int) -> float:
    """Seconds of the processor for a frame (the median), without those of the optical flow."""
    tracker = MaskTracker(flow=lambda _, now: np.full((*now.shape[:2], 2), (-0.5, 0), np.float32))
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    tracker.update(frame, drifting_ellipses(0))
    seconds = []
    for number in range(1, repeats + 1):
        instances = drifting_ellipses(number)
        start = time.process_time()
        tracker.update(frame, instances)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)
