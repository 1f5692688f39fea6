"""Detections of videos beside the ground truth, as pictures and as videos.

Letters: N detections or annotations of a frame, H x W its size.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils.visualizer import GenericMask
from numpy.typing import NDArray

from videogcrf_det.data import load_videos
from videogcrf_det.data.classes import check_classes
from videogcrf_det.data.images import read_image
from videogcrf_det.data.mappers import named_if_unreadable
from videogcrf_det.drawing.colours import COLOUR_MEMORY, TrackColours
from videogcrf_det.drawing.overlay import Picture, draw_instances, enlarge
from videogcrf_det.drawing.panels import side_by_side, write_png
from videogcrf_det.engine import VideoTrainer, load_video_model
from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.results_file import Results, confident_results
from videogcrf_det.masks import mask_iou, match
from videogcrf_det.progress import progress
from videogcrf_det.tracking import MaskTracker
from videogcrf_det.video import VideoWriter, require_av

MATCH_IOU = 0.5  # what counts as a detection in AP50
Record = dict[str, Any]  # a frame as detectron2's "dataset dict", or a video as load_videos has it


class Detections(NamedTuple):
    """The detections of one frame that are confident enough to be shown."""

    masks: NDArray[np.bool_]  # (N, H, W)
    scores: NDArray[np.floating]  # (N,), from 0 to 1
    classes: NDArray[np.integer]  # (N,), positions in thing_classes


class DetectedVideo(NamedTuple):
    """A video with its detections, which are made or read one frame at a time."""

    name: str
    records: list[Record]
    detections: Iterable[Detections]


class VideoFiles(NamedTuple):
    """The drawings of one video."""

    name: str
    video: Path
    frames: list[Path]


def visualize_predictions(
    cfg: CfgNode,
    output_dir: str | Path,
    *,
    dataset: str | None = None,
    predictions: str | Path | None = None,
    confidence_threshold: float = 0.5,
    fps: float = 10,
    max_videos: int | None = None,
) -> list[VideoFiles]:
    """Draw input, ground truth and detections of a data set's videos.

    Args:
        cfg: the config of the model; of the data set's name if ``predictions`` are given.
        output_dir: gets ``<video>.mp4`` and ``<video>/00000.png``, ...
        dataset: a registered data set, by default the first of DATASETS.TEST. An image that
            belongs to no video is one of its own.
        predictions: a ``coco_instances_results.json`` as the evaluation writes it. Without it the
            model of ``cfg`` runs, with MODEL.WEIGHTS.
        confidence_threshold: detections that score less are left out.
        fps: frames a second of the mp4 files.
        max_videos: how many videos are drawn, by default all.

    Raises:
        InputError: something of the above is not usable. Nothing has been written then.
    """
    check_options(output_dir, confidence_threshold, fps)
    if max_videos is not None and max_videos < 1:
        raise InputError(f"--max-videos must be at least 1, got {max_videos}")
    if dataset is None:
        dataset = first_test_set(cfg)
    if predictions is not None:
        videos = videos_from_file(dataset, predictions, confidence_threshold)
    else:
        videos = videos_from_model(cfg, dataset, confidence_threshold)
    class_names = MetadataCatalog.get(dataset).thing_classes
    return write_videos(islice(videos, max_videos), class_names, output_dir, fps)


def check_options(output_dir: str | Path, confidence_threshold: float, fps: float) -> None:
    """Raise InputError for what a tool that draws videos cannot use."""
    require_av()
    if not 0 <= confidence_threshold <= 1:
        raise InputError(f"--confidence-threshold must be from 0 to 1, got {confidence_threshold}")
    if not 0 < fps < float("inf"):
        raise InputError(f"--fps must be above 0, got {fps}")
    if Path(output_dir).exists() and not Path(output_dir).is_dir():
        raise InputError(f"--output names {output_dir}, which is a file: name a folder")


def first_test_set(cfg: CfgNode) -> str:
    """The first name in DATASETS.TEST."""
    if not cfg.DATASETS.TEST:
        raise InputError("the config names no data set in DATASETS.TEST: give one with --dataset")
    return cfg.DATASETS.TEST[0]


def videos_from_file(
    dataset: str, predictions: str | Path, threshold: float
) -> Iterator[DetectedVideo]:
    """The videos of a data set with the detections of a COCO results file.

    Raises:
        InputError: the file is not one, or is of another data set; at once, not on iteration.
    """
    videos = load_videos(dataset)
    results = confident_results(dataset, videos, predictions, threshold)
    return (
        DetectedVideo(video["video_name"], video["frames"], detections_of(video, results))
        for video in videos
    )


def detections_of(video: Record, results: Results) -> Iterator[Detections]:
    """The results of each frame of a video, decoded one frame at a time."""
    for record in video["frames"]:
        shown = results.get(record["image_id"], [])
        yield Detections(
            _decode([result["segmentation"] for result in shown], record),
            np.array([result["score"] for result in shown]),
            np.array([result["category_id"] for result in shown], int),
        )


def videos_from_model(cfg: CfgNode, dataset: str, threshold: float) -> Iterator[DetectedVideo]:
    """The videos of a data set with the detections of the model in MODEL.WEIGHTS.

    Raises:
        InputError: there are no weights, or they do not fit; at once, not on iteration.
    """
    if not cfg.MODEL.WEIGHTS:
        raise InputError(
            "there is nothing to draw: name a file in --predictions, or a trained detector with "
            "--opts MODEL.WEIGHTS PATH"
        )
    check_classes(cfg, [dataset])
    model = load_video_model(cfg).eval()
    loader = VideoTrainer.build_test_loader(cfg, dataset)

    def detect(video: Record) -> Iterator[Detections]:
        (outputs,) = model([video])
        for output in outputs:
            found = output["instances"].to("cpu")
            found = found[found.scores >= threshold]
            yield Detections(
                found.pred_masks.numpy(), found.scores.numpy(), found.pred_classes.numpy()
            )

    return (
        DetectedVideo(video["video_name"], video["records"], detect(video))
        for batch in loader
        for video in batch
    )


def write_videos(
    videos: Iterable[DetectedVideo], class_names: list[str], output_dir: str | Path, fps: float
) -> list[VideoFiles]:
    """Draw videos, reading them frame by frame; see visualize_predictions.

    Raises:
        InputError: a frame cannot be read.
    """
    written: list[VideoFiles] = []
    taken: set[str] = set()
    for video in videos:
        name = unique_name(file_name(video.name), taken)
        path = Path(output_dir, f"{name}.mp4")
        frames: list[Path] = []
        with VideoWriter(path, fps) as writer:
            drawn = draw_video(video.records, {"Prediction": video.detections}, class_names)
            for panels in progress(
                drawn, desc=video.name, total=len(video.records), unit="frame", leave=False
            ):
                picture = side_by_side(list(panels.items()))
                frames.append(Path(output_dir, name, f"{len(frames):05d}.png"))
                write_png(frames[-1], picture)
                writer.write(picture)
        written.append(VideoFiles(video.name, path, frames))
    return written


def file_name(name: str) -> str:
    """The name of a video as one of a file."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "video"


def unique_name(name: str, taken: set[str]) -> str:
    """A name that is not among those ``taken``, whatever the case of letters, and is then."""
    number, result = 1, name
    while result.lower() in taken:
        number += 1
        result = f"{name}_{number}"
    taken.add(result.lower())
    return result


def draw_video(
    records: Sequence[Record],
    detections: Mapping[str, Iterable[Detections]],
    class_names: Sequence[str],
) -> Iterator[dict[str, Picture]]:
    """Input, ground truth and detections of each frame of a video, as pictures by caption.

    A detection has the colour of the annotated instance that it overlaps by MATCH_IOU or more,
    and keeps it while it can be followed. The others have colours of their own.

    Args:
        records: the frames.
        detections: those of each frame, by the caption of their pictures.
        class_names: ``thing_classes``.
    """
    track_colours = TrackColours()
    followed = [(MaskTracker(), TrackColours(COLOUR_MEMORY)) for _ in detections]
    for record, *found in zip(records, *detections.values(), strict=True):
        with named_if_unreadable(record):
            image = read_image(record["file_name"], "RGB")
        truth = annotated(record, track_colours)
        panels = {
            "Input": enlarge(image),
            "Ground truth": draw_instances(image, truth.masks, truth.colours, crowd=truth.crowd),
        }
        for caption, of_frame, (tracker, colours) in zip(detections, found, followed, strict=True):
            ids = tracker.follow(image[:, :, ::-1], of_frame.masks, of_frame.classes.tolist())
            known = _matched_colours(of_frame.masks, truth)
            shown = colours.update(ids, known, reserved=truth.colours)
            panels[caption] = _draw_detections(image, of_frame, shown, class_names)
        yield panels


def _draw_detections(
    image: Picture,
    found: Detections,
    colours: Sequence[int],
    class_names: Sequence[str],
) -> Picture:
    # the name of the only class would only hide the picture
    names = [f"{class_names[i]} " if len(class_names) > 1 else "" for i in found.classes]
    labels = [f"{name}{score:.0%}" for name, score in zip(names, found.scores, strict=True)]
    return draw_instances(image, found.masks, colours, labels=labels)


def annotated_masks(record: Record) -> list[dict[str, Any]]:
    """The annotations of a loaded frame that have a mask."""
    return [a for a in record.get("annotations", []) if "segmentation" in a]


class Annotated(NamedTuple):
    """The ground truth of one frame."""

    masks: NDArray[np.bool_]  # (N, H, W)
    colours: list[int]  # N palette indices
    crowd: list[bool]  # which of the N are do-not-care regions


def annotated(record: Record, track_colours: TrackColours) -> Annotated:
    """The annotations of a frame, with colours that stay with tracks."""
    annotations = annotated_masks(record)
    crowd = [bool(annotation.get("iscrowd", 0)) for annotation in annotations]
    instances = [annotation for annotation in annotations if not annotation.get("iscrowd", 0)]
    # instances of still images have no identity: any will do
    identities = [instance.get("track_id", f"#{i}") for i, instance in enumerate(instances)]
    of_instances = iter(track_colours.update(identities))
    colours = [0 if ignored else next(of_instances) for ignored in crowd]
    masks = _decode([annotation["segmentation"] for annotation in annotations], record)
    return Annotated(masks, colours, crowd)


def _matched_colours(masks: NDArray[np.bool_], truth: Annotated) -> list[int | None]:
    """For each mask the colour of the instance that it detects, None where it detects none."""
    instances = [i for i, ignored in enumerate(truth.crowd) if not ignored]
    if not instances or not len(masks):
        return [None] * len(masks)
    pairs = match(mask_iou(masks, truth.masks[instances]), MATCH_IOU)
    return [truth.colours[instances[pairs[i]]] if i in pairs else None for i in range(len(masks))]


def _decode(segmentations: list[Any], record: Record) -> NDArray[np.bool_]:
    """COCO masks, RLE or polygons, as (N, H, W) of a frame."""
    height, width = record["height"], record["width"]
    masks = np.zeros((len(segmentations), height, width), bool)
    for mask, segmentation in zip(masks, segmentations, strict=True):
        mask[:] = GenericMask(segmentation, height, width).mask
    return masks
