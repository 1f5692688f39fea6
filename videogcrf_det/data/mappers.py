"""Reading clips: detectron2's DatasetMapper for every frame, with one set of transforms a clip."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.data.detection_utils import (
    SizeMismatchError,
    annotations_to_instances,
    check_image_size,
)
from detectron2.structures import BitMasks, BoxMode
from detectron2.structures.masks import polygons_to_bitmask
from pycocotools import mask as mask_util

from videogcrf_det.data.degrade import degrade
from videogcrf_det.data.images import read_image, read_label_map
from videogcrf_det.errors import InputError
from videogcrf_det.streams import read_ahead
from videogcrf_det.structures import AnnotatedInstances

Record = dict[str, Any]


@contextlib.contextmanager
def named_if_unreadable(record: Record) -> Iterator[None]:
    """Turn an OSError while the frame of ``record`` is read, or its label map, into an InputError
    that names the file."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read the {_broken(record)} ({error}): copy it again") from None


def _broken(record: Record) -> str:
    """The file of a frame that cannot be read."""
    frame = f"frame {record['file_name']}"
    if "sem_seg_file_name" not in record:
        return frame
    try:
        read_image(record["file_name"])
    except OSError:
        return frame
    return f"label map {record['sem_seg_file_name']}"


class FrameMapper(DatasetMapper):
    """The stock mapper of single frames, but for two things.

    Annotations with ``iscrowd: 1``, which it drops, become ``ignore_regions`` of the instances
    (AnnotatedInstances). What is wrong with a file is said in one sentence.
    """

    def read_frame(self, record: Record) -> Record:
        """Read and transform one frame; see DatasetMapper."""
        height, width = record.get("height"), record.get("width")
        for annotation in record.get("annotations", ()) if self.is_train else ():
            mask = annotation.get("segmentation")
            if isinstance(mask, dict) and list(mask["size"]) != [height, width]:
                raise InputError(
                    f"a mask of {record['file_name']} has the size {list(mask['size'])}, the frame "
                    f"[{height}, {width}] (height, width): prepare the annotations again"
                )
        try:
            return self._map(copy.deepcopy(record))
        except SizeMismatchError as error:
            raise InputError(
                f"{record['file_name']} is not of the size that its annotations name "
                f"({' '.join(str(error).split())}; sizes are those after turning by EXIF): prepare "
                "the annotations again"
            ) from None

    def _map(self, record: Record) -> Record:
        """As the stock mapper, but that images are read by read_image."""
        labels = record.pop("sem_seg_file_name", None)
        with named_if_unreadable({**record, **({"sem_seg_file_name": labels} if labels else {})}):
            image = read_image(record["file_name"], self.image_format)
            check_image_size(record, image)
            sem_seg = None if labels is None else read_label_map(labels)
        aug_input = T.AugInput(image, sem_seg=sem_seg)
        transforms = self.augmentations(aug_input)
        pixels = np.ascontiguousarray(aug_input.image.transpose(2, 0, 1))
        record["image"] = torch.as_tensor(pixels)
        if aug_input.sem_seg is not None:
            record["sem_seg"] = torch.as_tensor(aug_input.sem_seg.astype("long"))
        if not self.is_train:
            record.pop("annotations", None)
        elif "annotations" in record:
            self._transform_annotations(record, transforms, aug_input.image.shape[:2])
        return record

    def _transform_annotations(
        self, record: Record, transforms: T.TransformList, image_shape: tuple[int, int]
    ) -> None:
        regions = [
            transforms.apply_segmentation(_pixels(annotation, record))
            for annotation in record["annotations"]
            if annotation.get("iscrowd", 0)
        ]
        if len(regions) == len(record["annotations"]):
            # a frame between others that show someone: stock training leaves such images out, and
            # the stock mapper fails at them if it has to find the boxes of cropped masks
            del record["annotations"]
            record["instances"] = annotations_to_instances([], image_shape)
        else:
            super()._transform_annotations(record, transforms, image_shape)
        masks = np.zeros((len(regions), *image_shape), bool)
        for mask, region in zip(masks, regions, strict=True):
            mask[:] = region
        seen = masks[masks.any(axis=(1, 2))]  # a crop may have left some of them out
        fields = record["instances"].get_fields()
        record["instances"] = AnnotatedInstances(image_shape, BitMasks(seen), **fields)


def _pixels(annotation: Record, record: Record) -> npt.NDArray[np.uint8]:
    """(height, width) of a frame: 1 on a region, given as RLE, polygons, or a box alone."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return mask_util.decode(segmentation)
    height, width = record["height"], record["width"]
    if not segmentation:
        box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
        x0, y0, x1, y1 = box
        segmentation = [[x0, y0, x1, y0, x1, y1, x0, y1]]
    return polygons_to_bitmask(segmentation, height, width).astype(np.uint8)


class ClipDatasetMapper(FrameMapper):
    """Map a clip of build_clips to what ClipRCNN trains on.

    Random transforms are drawn once a clip, on its first frame, and applied to all of its frames.
    The result has ``video_id``, ``width``, ``height`` and ``frames``, each as the stock mapper
    makes it.
    """

    @configurable
    def __init__(self, is_train: bool, *, degraded: float = 0.0, **stock: Any) -> None:
        """
        Args:
            is_train: see DatasetMapper.
            degraded: share of the frames to degrade, drawn frame by frame; see degrade.
            stock: the other arguments of DatasetMapper.
        """
        super().__init__(is_train, **stock)
        if not 0 <= degraded <= 1:
            raise InputError(f"INPUT.CLIP.DEGRADED must be from 0 to 1, got {degraded}")
        self.degraded = degraded

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Arguments of the constructor from a config."""
        return {**super().from_config(cfg, is_train), "degraded": cfg.INPUT.CLIP.DEGRADED}

    def __call__(self, clip: Record) -> Record:
        """Read and transform the frames of one clip."""
        of_clip = copy.copy(self)
        of_clip.augmentations = _DrawOnce(self.augmentations)
        return {
            "video_id": clip["video_id"],
            "width": clip["width"],
            "height": clip["height"],
            "frames": [self._degrade(of_clip.read_frame(record)) for record in clip["frames"]],
        }

    def _degrade(self, frame: Record) -> Record:
        if not self.degraded:
            return frame
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        if rng.random() >= self.degraded:
            return frame
        pixels = degrade(np.ascontiguousarray(frame["image"].permute(1, 2, 0)), rng)
        return {**frame, "image": torch.from_numpy(pixels).permute(2, 0, 1).contiguous()}


class _DrawOnce:
    """Augmentations that keep the transforms of their first input for all others."""

    def __init__(self, augmentations: T.AugmentationList) -> None:
        self.augmentations = augmentations
        self.transforms: T.TransformList | None = None

    def __call__(self, aug_input: T.AugInput) -> T.TransformList:
        if self.transforms is None:
            self.transforms = self.augmentations(aug_input)
            for transform in self.transforms.transforms:
                # RandomSaturation's, for example, would blend the first frame into all others
                if isinstance(transform, T.BlendTransform) and np.ndim(transform.src_image) > 1:
                    raise InputError(
                        "an augmentation blends a frame with a picture made from it, which the "
                        "other frames of a clip cannot share: leave RandomSaturation out"
                    )
        else:
            aug_input.transform(self.transforms)
        return self.transforms


class VideoDatasetMapper(FrameMapper):
    """Map a video of load_videos to what ClipRCNN infers on.

    The result has ``video_id``, ``video_name``, ``records`` (the frames' dataset dicts) and
    ``frames``, which reads frames as they are asked for, and two ahead.
    """

    def __call__(self, video: Record) -> Record:
        """Describe one video; nothing is read yet."""
        frames = LazyFrames(self.read_frame, video["frames"])
        return {**video, "records": video["frames"], "frames": frames}


class LazyFrames:
    """The frames of a video, read one by one on every iteration."""

    def __init__(self, read: Any, records: list[Record]) -> None:
        self.read = read
        self.records = records

    def __iter__(self) -> Iterator[Record]:
        return read_ahead(map(self.read, self.records))

    def __len__(self) -> int:
        return len(self.records)
