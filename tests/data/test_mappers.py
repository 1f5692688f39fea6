"""Mappers of clips and of whole videos."""

import pickle

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import BitMasks
from detectron2.utils.env import seed_all_rng
from PIL import Image
from pycocotools import mask as coco_mask

from tests.conftest import CONFIG
from videogcrf_det import InputError
from videogcrf_det.data import ClipDatasetMapper, VideoDatasetMapper, load_videos, training_clips
from videogcrf_det.engine import build_cfg

RANDOM = [
    *["INPUT.CROP.ENABLED", "True", "INPUT.CROP.SIZE", "[0.7, 0.7]"],
    *["INPUT.MIN_SIZE_TRAIN", "(64, 72, 80, 96)", "INPUT.CLIP.NUM_FRAMES", "4"],
]


@pytest.fixture
def cfg(small):
    return build_cfg(CONFIG, [*small, *RANDOM])


@pytest.fixture
def clip(cfg):
    return training_clips(cfg)[0]


def still(clip):
    """A clip whose frames are copies of the first."""
    return {**clip, "frames": clip["frames"][:1] * 4}


def test_frames_of_a_clip_share_their_transforms(cfg, clip):
    mapper = ClipDatasetMapper(cfg, is_train=True)
    clips = [mapper(still(clip))["frames"] for _ in range(8)]
    for first, *others in clips:
        assert len(others) == 3
        for other in others:
            assert torch.equal(first["image"], other["image"])
            masks, others_masks = (frame["instances"].gt_masks for frame in (first, other))
            assert torch.equal(masks.tensor, others_masks.tensor)
            boxes, other_boxes = (frame["instances"].gt_boxes for frame in (first, other))
            assert torch.equal(boxes.tensor, other_boxes.tensor)
    images = [frames[0]["image"] for frames in clips]
    assert any(not torch.equal(images[0], image) for image in images[1:])


def test_degraded_frames(small, clip):
    opts = [*small, *RANDOM, "SEED", "3"]
    torch.manual_seed(0)
    plain = ClipDatasetMapper(build_cfg(CONFIG, opts), is_train=True)
    cfg = build_cfg(CONFIG, [*opts, "INPUT.CLIP.DEGRADED", "0.4"])
    mapper = ClipDatasetMapper(cfg, is_train=True)
    changed = []
    for seed in range(50):
        seed_all_rng(seed)
        expected = plain(clip)["frames"]
        seed_all_rng(seed)
        found = mapper(clip)["frames"]
        for a, b in zip(expected, found, strict=True):
            changed.append(not torch.equal(a["image"], b["image"]))
            assert b["image"].shape == a["image"].shape
            assert b["image"].dtype == torch.uint8
            assert torch.equal(a["instances"].gt_masks.tensor, b["instances"].gt_masks.tensor)
    assert 50 < sum(changed) < 110  # of 200, 80 on average
    with pytest.raises(InputError, match=r"INPUT.CLIP.DEGRADED must be from 0 to 1, got 1.5"):
        ClipDatasetMapper(build_cfg(CONFIG, [*opts, "INPUT.CLIP.DEGRADED", "1.5"]), is_train=True)


def test_masks_follow_the_image(cfg, clip, tmp_path):
    """On frames that show nothing but the mask, the transformed image is the transformed mask."""
    shown = []
    for index, record in enumerate(clip["frames"]):
        path = tmp_path / f"{index}.png"
        annotation = record["annotations"][0]
        assert not annotation["iscrowd"]
        mask = coco_mask.decode(annotation["segmentation"])
        Image.fromarray(np.repeat(mask[..., None] * 255, 3, axis=2)).save(path)
        shown.append({**record, "file_name": str(path), "annotations": [annotation]})
    mapper = ClipDatasetMapper(cfg, is_train=True)
    seen = 0
    for _ in range(6):
        for frame in mapper({**clip, "frames": shown})["frames"]:
            instances, image = frame["instances"], frame["image"][0] > 127
            assert frame["image"].shape[1:] == instances.image_size
            if not len(instances):  # cropped away, up to a few pixels
                assert image.float().mean() < 0.02
                continue
            mask = instances.gt_masks.tensor[0]
            assert (mask != image).float().mean() < 0.04  # the border, resampled differently
            assert torch.equal(
                instances.gt_boxes.tensor, instances.gt_masks.get_bounding_boxes().tensor
            )
            seen += 1
    assert seen


def test_what_a_clip_holds(cfg, clip):
    mapped = ClipDatasetMapper(cfg, is_train=True)(clip)
    assert set(mapped) == {"video_id", "width", "height", "frames"}
    assert (mapped["height"], mapped["width"]) == (48, 64)
    for frame, record in zip(mapped["frames"], clip["frames"], strict=True):
        assert frame["image"].dtype == torch.uint8
        assert frame["image"].shape[0] == 3
        for key in ("file_name", "height", "width", "image_id", "frame_id"):
            assert frame[key] == record[key]
        instances = frame["instances"]
        assert len(instances)
        assert isinstance(instances.gt_masks, BitMasks)
        assert instances.has("gt_boxes")
        assert instances.has("gt_classes")


@pytest.mark.parametrize("crop", ["True", "False"])
def test_a_frame_without_instances_within_a_clip(small, crop):
    cfg = build_cfg(CONFIG, [*small, *RANDOM, "INPUT.CROP.ENABLED", crop])
    clip = training_clips(cfg)[0]
    crowd = {**clip["frames"][0]["annotations"][0], "iscrowd": 1}
    for annotations in ([], [crowd]):
        frames = [{**clip["frames"][0], "annotations": annotations}, *clip["frames"][1:]]
        mapped = ClipDatasetMapper(cfg, is_train=True)({**clip, "frames": frames})
        assert len(mapped["frames"][0]["instances"]) == 0
        assert mapped["frames"][0]["instances"].gt_boxes.tensor.shape == (0, 4)


def test_still_images_are_clips_of_one_frame(cfg, damaged):
    def forget_videos(root, content):
        del content["videos"]
        for image in content["images"]:
            del image["video_id"], image["frame_id"]

    name = damaged(forget_videos)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASETS.TRAIN = (name,)
    clips = training_clips(cfg)
    assert len(clips) == 18
    mapped = ClipDatasetMapper(cfg, is_train=True)(clips[0])
    assert mapped["video_id"] is None
    assert len(mapped["frames"]) == 1
    assert mapped["frames"][0]["instances"].has("gt_classes")
    videos = [VideoDatasetMapper(cfg, is_train=False)(video) for video in load_videos(name)]
    assert [len(list(video["frames"])) for video in videos] == [1] * 18


@pytest.fixture
def video(cfg, mini_data):
    return VideoDatasetMapper(cfg, is_train=False)(load_videos(mini_data["val"])[0])


def test_a_video_is_read_frame_by_frame(video):
    assert video["video_name"] == "stroll-000"
    assert len(video["frames"]) == len(video["records"]) == 6
    for _ in range(2):  # as often as wanted
        for frame, record in zip(video["frames"], video["records"], strict=True):
            assert frame["image"].shape == (3, 48, 64)
            assert frame["image_id"] == record["image_id"]
            assert "instances" not in frame


def test_nothing_of_a_video_is_read_before_its_turn(cfg, mini_data):
    first, second = load_videos(mini_data["val"])[0]["frames"][:2]
    records = [first, {**second, "file_name": "gone.jpg"}]
    video = VideoDatasetMapper(cfg, is_train=False)({"video_id": 1, "frames": records})
    frames = iter(video["frames"])
    assert next(frames)["image_id"] == first["image_id"]
    with pytest.raises(InputError, match=r"gone\.jpg"):
        next(frames)


def test_a_video_can_come_from_another_process(video):
    again = pickle.loads(pickle.dumps(video))
    assert again["records"] == video["records"]
    for frame, other in zip(video["frames"], again["frames"], strict=True):
        assert torch.equal(frame["image"], other["image"])


def truncate(path, content):
    path.write_bytes(path.read_bytes()[:400])


def shrink_image(path, content):
    Image.open(path).resize((32, 24)).save(path)


def shrink_mask(path, content):
    mask = coco_mask.encode(np.ones((24, 32), dtype=np.uint8, order="F"))
    mask["counts"] = mask["counts"].decode()
    content["annotations"][0]["segmentation"] = mask


def shrink_frame(path, content):
    shrink_image(path, content)
    image = content["images"][0]
    image.update(height=24, width=32)
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != image["id"]]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncate, r"cannot read the frame .*walk-000/00000\.jpg \(.*runcated.*\): copy"),
        (shrink_image, r"walk-000/00000\.jpg is not of the size that its annotations name"),
        (shrink_mask, r"annotation \d+ in .*\.json has a mask of the size \[24, 32\].*\[48, 64\]"),
        (shrink_frame, r"walk-000/0000\d\.jpg has the size .*\[24, 32\].*\(height, width\)"),
    ],
)
def test_bad_files_are_named(cfg, damaged, damage, sentence):
    def of_first_frame(root, content):
        damage(root / "JPEGImages" / content["images"][0]["file_name"], content)

    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASETS.TRAIN = (damaged(of_first_frame),)
    with pytest.raises(InputError, match=sentence) as caught:
        ClipDatasetMapper(cfg, is_train=True)(training_clips(cfg)[0])
    assert "\n" not in str(caught.value)


def test_a_test_sets_masks_are_of_its_frames_sizes_too(damaged):
    """Else its evaluation would fail when training is over."""

    def no_masks(root, content):
        for annotation in content["annotations"]:
            annotation["segmentation"] = {"size": [1, 1], "counts": "1"}

    with pytest.raises(InputError, match=r"a mask of the size \[1, 1\], its frame \[48, 64\]"):
        load_videos(damaged(no_masks, "val"))


def test_colour_transforms_that_frames_can_share(cfg, clip):
    mapper = ClipDatasetMapper(cfg, is_train=True)
    mapper.augmentations = T.AugmentationList([T.RandomBrightness(0.5, 1.5)])
    first, *others = mapper(still(clip))["frames"]
    assert all(torch.equal(first["image"], other["image"]) for other in others)
    mapper.augmentations = T.AugmentationList([T.RandomSaturation(0.5, 1.5)])
    with pytest.raises(InputError, match="leave RandomSaturation out"):
        mapper(clip)
