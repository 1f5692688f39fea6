"""From frames to videos and clips."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, get_detection_dataset_dicts

from videogcrf_det.data.classes import check_masks
from videogcrf_det.data.few_labels import is_annotated
from videogcrf_det.errors import InputError

Record = dict[str, Any]  # a frame as detectron2's "dataset dict"


def clip_indices(reference: int, video_length: int, num_frames: int, stride: int) -> list[int]:
    """Frames of the clip around ``reference``, ascending, each at most once.

    Frames at multiples of ``stride`` from the reference come first, the nearest to the clip's
    centre before others, so that the clip shifts inwards at either end of a video. Where the video
    has too few of them, the frames nearest to the reference fill up; a video shorter than
    ``num_frames`` gives all its frames.

    >>> clip_indices(10, 100, num_frames=4, stride=1), clip_indices(10, 100, 4, stride=2)
    ([9, 10, 11, 12], [8, 10, 12, 14])
    >>> clip_indices(0, 100, num_frames=4, stride=1), clip_indices(99, 100, 4, stride=1)
    ([0, 1, 2, 3], [96, 97, 98, 99])
    >>> clip_indices(1, 2, num_frames=4, stride=1), clip_indices(3, 5, 4, stride=2)
    ([0, 1], [1, 2, 3, 4])
    """
    if num_frames < 1 or stride < 1:
        raise InputError(
            f"a clip needs at least 1 frame and a stride of at least 1, got INPUT.CLIP.NUM_FRAMES "
            f"{num_frames} and INPUT.CLIP.STRIDE {stride}"
        )
    # even clips have one more frame after the reference than before it
    centre = reference + stride * ((num_frames - 1) / 2 - (num_frames - 1) // 2)
    reach = stride * num_frames
    near = range(max(reference - reach, 0), min(reference + reach + 1, video_length))
    on_stride = [index for index in near if (index - reference) % stride == 0]
    others = [index for index in near if (index - reference) % stride]
    on_stride.sort(key=lambda index: abs(index - centre))
    others.sort(key=lambda index: abs(index - reference))
    return sorted((on_stride + others)[:num_frames])


def group_videos(records: list[Record]) -> list[list[Record]]:
    """Videos with their frames in order; a still image, without ``video_id``, is one of its own."""
    videos: dict[Any, list[Record]] = {}
    for index, record in enumerate(records):
        videos.setdefault(record.get("video_id", ("still", index)), []).append(record)
    for frames in videos.values():
        frames.sort(key=lambda record: record.get("frame_id", 0))
    return list(videos.values())


def mix_videos(records: list[Record]) -> list[Record]:
    """The same frames in videos whose successive frames come from different videos.

    For comparisons: what a context of such frames brings cannot be due to time. Video k of the
    result has, of the videos whose frames are of one size, frame t of video k + t. Of V videos
    every V-th frame is then still the same one's: take at least as many as a context has frames.
    All are cut to the length of the shortest, since otherwise those left at the end would come
    beside themselves.

    Args:
        records: dataset dicts with ``video_id`` and ``frame_id``; still images stay as they are.
    """
    sizes: dict[Any, list[list[Record]]] = {}
    for video in group_videos(records):
        size = (video[0]["height"], video[0]["width"]) if "video_id" in video[0] else None
        sizes.setdefault(size, []).append(video)
    mixed = sizes.pop(None, [])
    for videos in sizes.values():
        shortest = min(map(len, videos))
        for first, video in enumerate(videos):
            taken = [videos[(first + t) % len(videos)][t] for t in range(shortest)]
            keys = ("video_id", "video_name")
            named = {key: f"mixed {video[0][key]}" for key in keys if key in video[0]}
            mixed.append([{**record, **named, "frame_id": t} for t, record in enumerate(taken)])
    return [record for video in mixed for record in video]


def build_clips(records: list[Record], num_frames: int, stride: int = 1) -> list[Record]:
    """One clip around every frame of a data set, so that an epoch draws every frame once.

    Args:
        records: dataset dicts of one data set, with ``video_id`` and ``frame_id`` for videos.
        num_frames: V. Clips of shorter videos have fewer frames.
        stride: frames from one frame of the clip to the next.

    Returns:
        dicts with ``video_id``, ``frames`` (dataset dicts in temporal order), ``reference`` (the
        position in ``frames`` of the one that the clip is drawn around), ``width``, ``height``.
    """
    clips = []
    for video in group_videos(records):
        for reference, record in enumerate(video):
            indices = clip_indices(reference, len(video), num_frames, stride)
            clips.append(
                {
                    "video_id": record.get("video_id"),
                    "frames": [video[index] for index in indices],
                    "reference": indices.index(reference),
                    "width": record["width"],
                    "height": record["height"],
                }
            )
    return clips


def load_clips(
    dataset_names: Sequence[str], num_frames: int, stride: int = 1, filter_empty: bool = True
) -> list[Record]:
    """Clips of all of ``dataset_names``; see build_clips.

    Args:
        filter_empty: leave out clips that have no instance in any frame. Those without an annotated
            frame (few_labels.py) are left out in any case.

    Raises:
        InputError: there is no clip, or one has frames of several sizes.
    """
    clips: list[Record] = []
    for name in dataset_names:
        clips += build_clips(_records(name), num_frames, stride)
    clips = [clip for clip in clips if any(map(is_annotated, clip["frames"]))]
    if filter_empty:
        clips = [clip for clip in clips if any(map(_has_instance, clip["frames"]))]
    if not clips:
        raise InputError(
            f"the training data {', '.join(dataset_names)} has no "
            f"{'annotated instances' if filter_empty else 'frames'}: check its annotations, or "
            "name other data sets in DATASETS.TRAIN"
        )
    for clip in clips:
        _check_sizes(clip)
    return clips


def _check_sizes(clip: Record) -> None:
    size = [clip["height"], clip["width"]]
    for record in clip["frames"]:
        if [record["height"], record["width"]] != size:
            raise InputError(
                f"{record['file_name']} has the size {[record['height'], record['width']]}, "
                f"others of its clip {size} (height, width): give frames of another size a video "
                "of their own"
            )


def training_clips(cfg: CfgNode) -> list[Record]:
    """The clips that a config trains on; see load_clips.

    Raises:
        InputError: there is no clip, or a mask that this config cannot train on.
    """
    clips = load_clips(
        cfg.DATASETS.TRAIN,
        cfg.INPUT.CLIP.NUM_FRAMES,
        cfg.INPUT.CLIP.STRIDE,
        cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS,
    )
    frames = {id(frame): frame for clip in clips for frame in clip["frames"]}
    check_masks(cfg, frames.values(), training=True)
    return clips


def load_videos(dataset_name: str) -> list[Record]:
    """Whole videos of a data set: dicts with ``video_id``, ``video_name``, ``frames``."""
    return [
        {
            "video_id": frames[0].get("video_id"),
            "video_name": frames[0].get("video_name", str(frames[0]["image_id"])),
            "frames": frames,
        }
        for frames in group_videos(_records(dataset_name))
    ]


def _records(dataset_name: str) -> list[Record]:
    if dataset_name not in DatasetCatalog:
        similar = get_close_matches(dataset_name, DatasetCatalog, cutoff=0.3)
        raise InputError(
            f"the data set {dataset_name!r} is not registered: use another, such as "
            f"{', '.join(similar) or 'davis_person_val'}, or register it (docs/datasets.md)"
        )
    # frames without annotations stay: a clip may need them
    return get_detection_dataset_dicts([dataset_name], filter_empty=False)


def _has_instance(record: Record) -> bool:
    return any(not annotation.get("iscrowd", 0) for annotation in record.get("annotations", ()))
