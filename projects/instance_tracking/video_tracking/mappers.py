"""Reading frames with the mask of the object that is tracked, and with given unaries."""

from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T

from video_tracking.davis import VOID, read_object_mask
from video_tracking.unaries import read_unary
from videogcrf_det.data import ClipDatasetMapper, VideoDatasetMapper
from videogcrf_det.data.mappers import FrameMapper, Record


class ObjectMapper(FrameMapper):
    """The mapper of frames, which adds what davis.py and unaries.py read.

    ``sem_seg`` (H, W) are the labels of the object, void where a frame is not annotated, and
    ``unary`` (2, H, W) the scores of background and foreground, if there is a folder of them.
    """

    @configurable
    def __init__(self, is_train: bool, *, unaries: str = "", **stock: Any) -> None:
        """
        Args:
            is_train: see DatasetMapper.
            unaries: the folder with the unaries of all videos, or "".
            stock: the other arguments of DatasetMapper.
        """
        super().__init__(is_train, **stock)
        self.unaries = unaries

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Arguments of the constructor from a config."""
        return {**super().from_config(cfg, is_train), "unaries": cfg.INPUT.UNARIES}

    def read_frame(self, record: Record) -> Record:
        """Read and transform one frame."""
        size = record["height"], record["width"]
        labels = read_object_mask(record) if "mask_file" in record else np.full(size, VOID)
        unary = read_unary(self.unaries, record) if self.unaries else np.zeros(size)
        frame = super().read_frame(record)
        # the transforms are those of the image: in training they were drawn for the whole clip, in
        # evaluation they follow from the size
        inputs = T.AugInput(unary.astype(np.float32), sem_seg=labels.astype(np.uint8))
        self.augmentations(inputs)
        frame["sem_seg"] = torch.from_numpy(inputs.sem_seg.astype(np.int64))
        if self.unaries:
            # log-odds, as two scores with this difference
            half = torch.from_numpy(np.ascontiguousarray(inputs.image)) / 2
            frame["unary"] = torch.stack([-half, half])
        return frame


class ObjectClipMapper(ObjectMapper, ClipDatasetMapper):
    """Clips of an object, in training."""


class ObjectVideoMapper(ObjectMapper, VideoDatasetMapper):
    """Videos of an object, in evaluation."""
