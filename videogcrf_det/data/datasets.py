"""COCO-format annotations of videos: loading, and registration with detectron2.

Importing this module registers the data sets of ``_builtin`` below ``$DETECTRON2_DATASETS``
(``datasets`` where that is not set), and all of them with the suffix ``_mixed`` (mix_videos). Files
are read when a data set is used, not before.
"""

import logging
import os
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from videogcrf_det.data.annotations import read_annotations
from videogcrf_det.data.clips import mix_videos
from videogcrf_det.data.few_labels import is_annotated
from videogcrf_det.errors import InputError

logger = logging.getLogger("detectron2.data")  # so that log.txt has it

# kinds of copies that videogcrf degrade-dataset makes
COPIES = ("degraded", "low_rate", "lost_packets", "wet_lens")

KEPT = ("iscrowd", "bbox", "category_id", "segmentation", "track_id")  # of an annotation


def load_video_coco_json(
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str],
    dataset_name: str | None = None,
) -> list[dict[str, Any]]:
    """Load the frames of videos as detectron2's "dataset dicts".

    Args:
        json_file: COCO instance annotations, or those of YouTube-VIS (ytvis.py). COCO's images of
            videos have ``video_id`` and ``frame_id`` (whole numbers; frames are ordered by the
            latter), and ``videos`` may give names.
        image_root: folder that the ``file_name`` of the images begin in.
        dataset_name: sets ``thing_classes`` and the mapping of category ids in its metadata, as
            detectron2's ``load_coco_json`` does.

    Returns:
        One dict per frame, sorted by video and frame, with the standard keys and ``video_id``,
        ``frame_id``, ``video_name``; its annotations have ``track_id`` where the file has it.
        Frames that are context only have ``annotated: False`` (few_labels.py).
        Images without ``video_id`` come last, in the order of their ids, without these keys.

    Raises:
        InputError: the file is missing or something in it cannot be used; see annotations.py.
    """
    json_file, image_root = os.fspath(json_file), os.fspath(image_root)
    content = read_annotations(json_file)
    to_class = {category["id"]: index for index, category in enumerate(content["categories"])}
    if dataset_name is not None:
        names = [category["name"] for category in content["categories"]]
        metadata = MetadataCatalog.get(dataset_name)
        if metadata.get("thing_classes", names) != names:
            raise InputError(
                f"{json_file} has the classes {', '.join(names)}, and the data set "
                f"{dataset_name!r} is one of {', '.join(metadata.thing_classes)}: use another name"
            )
        metadata.set(thing_classes=names, thing_dataset_id_to_contiguous_id=to_class)
    by_image: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        kept = {key: annotation[key] for key in KEPT if key in annotation}
        if dataset_name is not None:
            kept["category_id"] = to_class[kept["category_id"]]
        by_image[annotation["image_id"]].append({**kept, "bbox_mode": BoxMode.XYWH_ABS})
    keys = _video_keys(content, json_file)
    records = [
        {
            "file_name": os.path.join(image_root, image["file_name"]),
            "height": image["height"],
            "width": image["width"],
            "image_id": image["id"],
            "annotations": by_image[image["id"]],
            **({} if is_annotated(image) else {"annotated": False}),
            **keys.get(image["id"], {}),
        }
        for image in sorted(content["images"], key=itemgetter("id"))
    ]
    logger.info(f"{len(records)} frames in {json_file}")
    return sorted(
        records,
        key=lambda r: (0, r["video_id"], r["frame_id"]) if "video_id" in r else (1, 0, 0),
    )


def register_video_coco_instances(
    name: str,
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str],
    *,
    mixed: bool = False,
) -> None:
    """Make COCO-format annotations of videos (or of still images) known to detectron2 as ``name``.

    The files are read when the data set is used, which also sets its ``thing_classes``. Registering
    the same again does nothing. With ``mixed`` frames go to other videos; see mix_videos.

    Raises:
        InputError: ``name`` is taken by other files.
    """
    json_file, image_root = os.fspath(json_file), os.fspath(image_root)
    metadata = MetadataCatalog.get(name)
    if name in DatasetCatalog:
        if (metadata.get("json_file"), metadata.get("image_root")) == (json_file, image_root):
            return
        raise InputError(
            f"the data set {name!r} is registered already, with {metadata.get('json_file')}: "
            "choose another name"
        )

    def load() -> list[dict[str, Any]]:
        records = load_video_coco_json(json_file, image_root, name)
        return mix_videos(records) if mixed else records

    DatasetCatalog.register(name, load)
    metadata.set(json_file=json_file, image_root=image_root, evaluator_type="coco")


def register_ytvis_instances(
    name: str, json_file: str | os.PathLike[str], image_root: str | os.PathLike[str]
) -> None:
    """Make annotations in the format of YouTube-VIS known to detectron2 as ``name``.

    The same as register_video_coco_instances, which tells the formats apart by their content, under
    the name that other projects have for it.

    Args:
        json_file: with ``file_names`` of videos and ``segmentations`` of tracks (ytvis.py).
        image_root: folder that the ``file_names`` begin in.

    Raises:
        InputError: ``name`` is taken by other files.
    """
    register_video_coco_instances(name, json_file, image_root)


def _video_keys(content: dict[str, Any], json_file: str) -> dict[Any, dict[str, Any]]:
    """Image id -> what its dataset dict gains, for images that belong to a video."""
    names = {video.get("id"): video.get("name") for video in content["videos"]}
    keys = {}
    shown = set()
    seen: dict[tuple[int, int], Any] = {}
    for image in content["images"]:
        video, frame = image.get("video_id"), image.get("frame_id")
        if video is None:
            continue
        other = seen.setdefault((video, frame), image["id"])
        if other != image["id"]:
            raise InputError(
                f"the images {other} and {image['id']} in {json_file} are both frame {frame} of "
                f"video {video}: number the frames of a video in their order"
            )
        shown.add(video)
        name = str(names.get(video) or video)
        keys[image["id"]] = {"video_id": video, "frame_id": frame, "video_name": name}
    for video in names.keys() - shown:
        raise InputError(
            f"the video {names[video] or video!r} in {json_file} has no frames: add them to "
            "'images', or take it out of 'videos'"
        )
    return keys


def _builtin() -> Iterator[tuple[str, str, str]]:
    """Name, folder and class of the data sets that are registered."""
    for split in ["train", "val"]:
        yield f"davis_person_{split}", "DAVIS", "person"
        yield f"degraded_davis_person_{split}", "DAVIS_degraded", "person"
        yield f"mini_davis_person_{split}", "mini_davis", "person"
        yield f"mini_davis_degraded_person_{split}", "mini_davis_degraded", "person"
    for every in (5, 10):  # labels of every N-th frame
        yield f"davis_2016_objects_train_every_{every}", "DAVIS", "object"
    # val_30: the first 30 frames of each sequence; val_step_3: one in three, spoilt in other places
    copies = dict.fromkeys(("train", "val", "val_30"), "DAVIS_2016")
    for split, copy in {**copies, "val_step_3": "DAVIS_2016_step_3"}.items():
        yield f"davis_2016_objects_{split}", "DAVIS", "object"
        for kind in COPIES:
            yield f"{kind}_davis_2016_objects_{split}", f"{copy}_{kind}", "object"


def _register_builtin() -> None:
    root = os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
    for name, folder, category in _builtin():
        if name in DatasetCatalog:  # a user's own, or this module imported again
            continue
        json_file = os.path.join(root, folder, "annotations", f"{name}.json")
        images = os.path.join(root, folder, "JPEGImages")
        register_video_coco_instances(name, json_file, images)
        register_video_coco_instances(f"{name}_mixed", json_file, images, mixed=True)
        for registered in (name, f"{name}_mixed"):
            MetadataCatalog.get(registered).thing_classes = [category]


_register_builtin()
