"""Annotations with ``iscrowd: 1`` on their way to the detector."""

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, BoxMode, PolygonMasks
from PIL import Image
from pycocotools import mask as coco_mask
from torch.utils.data import DataLoader

from tests.conftest import CONFIG
from videogcrf_det.data import (
    ClipDatasetMapper,
    VideoDatasetMapper,
    load_videos,
    training_clips,
)
from videogcrf_det.engine import build_cfg

HEIGHT, WIDTH = 48, 64  # of the frames
X0, Y0, X1, Y1 = REGION = (10, 6, 30, 36)
PERSON = (32, 8, 44, 40)
CROP = ["INPUT.CROP.ENABLED", "True", "INPUT.CROP.SIZE", "[0.5, 0.5]"]


def corners(x0, y0, x1, y1):
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def filled(x0, y0, x1, y1):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def crowd(**given):
    box = {"bbox": [X0, Y0, X1, Y1], "bbox_mode": BoxMode.XYXY_ABS}
    return {**box, "category_id": 0, "iscrowd": 1, **given}


def rle(mask, text=True):
    encoded = coco_mask.encode(np.asfortranarray(mask))
    return {**encoded, "counts": encoded["counts"].decode()} if text else encoded


def person(segmentation, box=PERSON):
    box = {"bbox": list(box), "bbox_mode": BoxMode.XYXY_ABS}
    return {**box, "category_id": 0, "iscrowd": 0, "segmentation": segmentation}


# the same region, said in different ways
SAID = {
    "RLE": crowd(segmentation=rle(filled(*REGION))),
    "RLE of bytes": crowd(segmentation=rle(filled(*REGION), text=False)),
    "polygon": crowd(segmentation=corners(*REGION)),
    "polygons": crowd(segmentation=corners(X0, Y0, 25, Y1) + corners(20, Y0, X1, Y1)),
    "box": crowd(),
    "box with a size": crowd(
        bbox=[X0, Y0, X1 - X0, Y1 - Y0], bbox_mode=BoxMode.XYWH_ABS, segmentation=[]
    ),
}


@pytest.fixture
def read(small):
    """A frame with some annotations, as training sees it, after some transforms."""

    def read_frame(annotations, *transforms, opts=()):
        clip = training_clips(build_cfg(CONFIG, small))[0]
        cfg = build_cfg(CONFIG, [*small, *opts])
        mapper = ClipDatasetMapper(cfg, is_train=True)
        if transforms:
            mapper.augmentations = T.AugmentationList(list(transforms))
        record = {**clip["frames"][0], "annotations": list(annotations)}
        (frame,) = mapper({**clip, "frames": [record]})["frames"]
        return frame

    return read_frame


def regions_of(frame):
    instances = frame["instances"]
    assert isinstance(instances.ignore_regions, BitMasks)
    assert instances.ignore_regions.tensor.shape[1:] == instances.image_size
    assert frame["image"].shape[1:] == instances.image_size
    return instances.ignore_regions.tensor.numpy()


# what each transform does to a mask, by hand
TRANSFORMS = {
    "none": (T.NoOpTransform(), lambda mask: mask),
    "twice as large": (T.Resize((96, 128)), lambda mask: mask.repeat(2, 0).repeat(2, 1)),
    "half as wide": (T.Resize((48, 32)), lambda mask: mask[:, ::2]),
    "left to right": (T.RandomFlip(1.0), lambda mask: mask[:, ::-1]),
    "upside down": (
        T.RandomFlip(1.0, horizontal=False, vertical=True),
        lambda mask: mask[::-1],
    ),
    "cropped": (T.CropTransform(20, 3, 25, 20), lambda mask: mask[3:23, 20:45]),
}


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_region_however_it_is_said(read, said, name):
    transform, by_hand = TRANSFORMS[name]
    (region,) = regions_of(read([SAID[said]], transform))
    np.testing.assert_array_equal(region, by_hand(filled(*REGION)).astype(bool))


@pytest.mark.parametrize("said", SAID)
def test_transforms_one_after_another(read, said):
    """With an instance beside the region, whose mask goes the same way."""
    chain = [T.CropTransform(20, 3, 25, 20), T.Resize((40, 50)), T.RandomFlip(1.0)]
    frame = read([SAID[said], person(rle(filled(*PERSON)))], *chain)

    def by_hand(mask):
        return mask[3:23, 20:45].repeat(2, 0).repeat(2, 1)[:, ::-1].astype(bool)

    (region,), instances = regions_of(frame), frame["instances"]
    np.testing.assert_array_equal(region, by_hand(filled(*REGION)))
    np.testing.assert_array_equal(instances.gt_masks.tensor[0], by_hand(filled(*PERSON)))


@pytest.mark.parametrize("said", ["RLE", "polygon", "box"])
def test_a_crop_leaves_out_what_it_does_not_show(read, said):
    """Of two regions and one person, the crop shows part of the second region."""
    other = crowd(segmentation=rle(filled(50, 30, 60, 48)))
    annotations = [SAID[said], other, person(rle(filled(*PERSON)))]
    frame = read(annotations, T.CropTransform(46, 28, 18, 18))
    (region,) = regions_of(frame)
    np.testing.assert_array_equal(region, filled(50, 30, 60, 48)[28:46, 46:64].astype(bool))
    assert len(frame["instances"]) == 0
    frame = read(annotations[:1], T.CropTransform(46, 28, 18, 18))
    assert regions_of(frame).shape == (0, 18, 18)


def test_a_box_reaches_no_further_than_the_frame(read):
    beyond = crowd(bbox=[50, -7, 90, 12], bbox_mode=BoxMode.XYXY_ABS)
    nowhere = crowd(bbox=[5, 5, 0, 0], bbox_mode=BoxMode.XYWH_ABS)
    (region,) = regions_of(read([beyond, nowhere], T.NoOpTransform()))
    np.testing.assert_array_equal(region, filled(50, 0, 64, 12).astype(bool))


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
@pytest.mark.parametrize(
    ("opts", "box"), [(CROP, (40, 16, 64, 80)), ([], (36, 16, 64, 80))], ids=["of mask", "given"]
)
def test_instances_do_not_notice_the_regions_beside_them(read, mask_format, opts, box):
    """Whose form may differ from theirs. With crops, boxes are made of masks."""
    opts = [*opts, "INPUT.MASK_FORMAT", mask_format]
    instance = person(corners(*PERSON), box=(32, 8, 46, 40))
    annotations = [SAID["RLE"], instance, SAID["polygon"], SAID["box"]]
    frame = read(annotations, T.Resize((96, 128)), T.RandomFlip(1.0), opts=opts)
    instances = frame["instances"]
    assert instances.gt_boxes.tensor.tolist() == [list(box)]
    assert instances.gt_classes.tolist() == [0]
    assert isinstance(instances.gt_masks, PolygonMasks if mask_format == "polygon" else BitMasks)
    assert instances.gt_masks.get_bounding_boxes().tensor.tolist() == [[40, 16, 64, 80]]
    expected = filled(*REGION).repeat(2, 0).repeat(2, 1)[:, ::-1]
    np.testing.assert_array_equal(regions_of(frame), np.stack([expected] * 3).astype(bool))


def test_boxes_without_masks_keep_their_regions(read):
    frame = read([SAID["RLE"], person(rle(filled(*PERSON)))], opts=["MODEL.MASK_ON", "False"])
    assert len(regions_of(frame)) == 1
    assert len(frame["instances"]) == 1
    assert not frame["instances"].has("gt_masks")


@pytest.mark.parametrize("opts", [CROP, []])
def test_frames_without_instances(read, opts):
    for annotations, count in [([], 0), ([SAID["box"]], 1), ([SAID["RLE"]] * 2, 2)]:
        frame = read(annotations, T.NoOpTransform(), opts=opts)
        assert len(regions_of(frame)) == count
        instances = frame["instances"]
        assert len(instances) == 0
        assert instances.gt_boxes.tensor.shape == (0, 4)
        assert instances.gt_classes.tolist() == []


def test_regions_follow_the_image_through_random_transforms(small, tmp_path):
    """On frames that show nothing but the region, the transformed image is the region."""
    opts = [*CROP, "INPUT.CROP.SIZE", "[0.3, 0.3]", "INPUT.MIN_SIZE_TRAIN", "(64, 80, 96)"]
    cfg = build_cfg(CONFIG, [*small, *opts])
    clip = training_clips(cfg)[0]
    path = tmp_path / "region.png"
    Image.fromarray(np.repeat(filled(*REGION)[..., None] * 255, 3, axis=2)).save(path)
    record = {**clip["frames"][0], "file_name": str(path), "annotations": [SAID["RLE"]]}
    mapper, seen, gone = ClipDatasetMapper(cfg, is_train=True), 0, 0
    for seed in range(20):
        np.random.seed(seed)  # noqa: NPY002
        for frame in mapper({**clip, "frames": [record, record]})["frames"]:
            image = frame["image"][0].numpy() > 127
            regions = regions_of(frame)
            assert len(regions) == image.any() or image.mean() < 0.02
            for region in regions:
                assert (region != image).mean() < 0.04  # the border, resampled differently
            seen, gone = seen + len(regions), gone + (len(regions) == 0)
    assert seen > 10
    assert gone


def test_regions_of_the_data_set_reach_training_whole(small, mini_root):
    """From PNGs of do-not-care masks through the prepared annotations."""
    opts = ["INPUT.RANDOM_FLIP", "none", "INPUT.CLIP.NUM_FRAMES", "4"]
    cfg = build_cfg(CONFIG, [*small, *opts])
    mapper = ClipDatasetMapper(cfg, is_train=True)
    frames = mapper(training_clips(cfg)[0])["frames"]
    assert len(frames) == 4
    for frame in frames:
        name = f"IgnoreMasks/{frame['video_name']}/{frame['frame_id']:05d}.png"
        expected = np.asarray(Image.open(mini_root / name)) > 0
        assert expected.any()
        np.testing.assert_array_equal(regions_of(frame).any(0), expected)


@pytest.fixture
def clip_with_regions(small):
    cfg = build_cfg(CONFIG, [*small, "INPUT.RANDOM_FLIP", "none"])
    clip = training_clips(cfg)[0]
    records = [{**record, "annotations": [SAID["RLE"], SAID["box"]]} for record in clip["frames"]]
    return ClipDatasetMapper(cfg, is_train=True), {**clip, "frames": records}


class Mapped(torch.utils.data.Dataset):
    def __init__(self, mapper, clip):
        self.mapper, self.clip = mapper, clip

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.mapper(self.clip)


def test_regions_come_from_workers(clip_with_regions):
    here = clip_with_regions[0](clip_with_regions[1])
    loader = DataLoader(Mapped(*clip_with_regions), batch_size=2, num_workers=1, collate_fn=list)
    ((first, second),) = loader
    for clip in (first, second):
        for frame, expected in zip(clip["frames"], here["frames"], strict=True):
            assert torch.equal(frame["image"], expected["image"])
            assert len(regions_of(frame)) == 2
            np.testing.assert_array_equal(regions_of(frame), regions_of(expected))


def test_videos_to_evaluate_on_have_none(small, mini_data):
    video = load_videos(mini_data["val"])[0]
    assert any(a["iscrowd"] for record in video["frames"] for a in record["annotations"])
    mapped = VideoDatasetMapper(build_cfg(CONFIG, small), is_train=False)(video)
    for frame in mapped["frames"]:
        assert not {"instances", "annotations"} & frame.keys()
