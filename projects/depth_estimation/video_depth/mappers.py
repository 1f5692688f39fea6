"""Reading frames with their depth maps."""

from typing import Any

import cv2
import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.data.detection_utils import check_image_size

from videogcrf_det.data import ClipDatasetMapper
from videogcrf_det.data.depth import DepthMap, read_depth
from videogcrf_det.data.images import read_image
from videogcrf_det.data.mappers import named_if_unreadable

Record = dict[str, Any]


def labels_of(record: Record) -> DepthMap | None:
    """The depth map of a frame, of the frame's (height, width); None where it has none.

    Of another size, as ScanNet's, each pixel has the depth of the nearest one.
    """
    if "depth_file_name" not in record:
        return None
    depth = read_depth(record["depth_file_name"], record["depth_unit"])
    size = record["width"], record["height"]
    if depth.shape != size[::-1]:
        depth = np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST), np.float32)
    return depth


class DepthClipMapper(ClipDatasetMapper):
    """ClipDatasetMapper whose frames have ``depth`` (H, W) in metres, 0 where missing.

    A frame without a depth map has no ``depth``.
    """

    def _map(self, record: Record) -> Record:
        with named_if_unreadable(record):
            image = read_image(record["file_name"], self.image_format)
        check_image_size(record, image)
        depth = labels_of(record)
        aug_input = T.AugInput(image, sem_seg=depth)  # which are never interpolated
        self.augmentations(aug_input)
        record["image"] = torch.as_tensor(np.ascontiguousarray(aug_input.image.transpose(2, 0, 1)))
        if depth is not None:
            record["depth"] = torch.as_tensor(np.ascontiguousarray(aug_input.sem_seg))
        return record
