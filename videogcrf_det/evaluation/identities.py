"""Identities of the detections that are evaluated."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from videogcrf_det.data.images import read_image
from videogcrf_det.data.mappers import named_if_unreadable
from videogcrf_det.tracking import MaskTracker, identify


def with_identities(
    video: Mapping[str, Any], outputs: Iterable[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The outputs of a model for the frames of a video, on the CPU and with a field ``track_ids``.

    They are those of VideoPredictor: see MaskTracker. A model's own are kept. Instances without
    masks, and those of still images, which belong to no video, get none. Frames are read one by
    one, as they are needed.

    Args:
        video: as VideoDatasetMapper makes it.
        outputs: dicts with ``instances``, as many as there are frames.
    """
    tracker = MaskTracker()
    for record, output in zip(video["records"], outputs, strict=True):
        found = output["instances"].to("cpu")
        unknown = found.has("pred_masks") and not found.has("track_ids")
        if video["video_id"] is not None and unknown:
            with named_if_unreadable(record):
                frame = read_image(record["file_name"], "BGR")
            identify(tracker, frame, found)
        yield {**output, "instances": found}
