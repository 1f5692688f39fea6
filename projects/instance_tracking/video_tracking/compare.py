"""Results of several methods side by side, as videos.

Letters: H x W pixels of a frame.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from video_tracking.davis import VOID, Record, read_ids, read_object_mask
from video_tracking.measures import region_similarity
from video_tracking.results import require_results, result_file
from videogcrf_det.data import load_videos
from videogcrf_det.data.images import read_image
from videogcrf_det.data.mappers import named_if_unreadable
from videogcrf_det.drawing.overlay import Picture, draw_instances
from videogcrf_det.drawing.panels import tile
from videogcrf_det.errors import InputError
from videogcrf_det.progress import progress
from videogcrf_det.video import VideoWriter


def compare_results(
    dataset: str,
    results: Mapping[str, str | Path],
    output: str | Path,
    *,
    sequences: Sequence[str] = (),
    fps: float = 10,
) -> list[Path]:
    """Write a video of each sequence with the objects that each of the methods found.

    Above each panel stands the mean J of the objects on that frame, where it is annotated.

    Args:
        dataset: a registered data set of davis.py.
        results: name -> folder with indexed PNGs, ``<folder>/<sequence>/00000.png``; of
            DAVIS-2016 also with any other value than 0 on the object.
        output: a folder, gets ``<sequence>.mp4``.
        sequences: which; all if there are none.
        fps: frames a second.

    Raises:
        InputError: a sequence or a result is missing, or a result does not fit its frame.

    Returns:
        the videos.
    """
    known = _by_sequence([frame for video in load_videos(dataset) for frame in video["frames"]])
    for name in sequences:
        if name not in known:
            raise InputError(f"{dataset} has no sequence {name!r}, only {', '.join(known)}")
    chosen = sequences or list(known)
    for folder in results.values():
        for sequence in chosen:
            require_results(folder, sequence, [objects[0] for objects in known[sequence]])
    videos = []
    for sequence in progress(chosen, desc="videos", unit="video"):
        videos.append(Path(output, f"{sequence}.mp4"))
        with VideoWriter(videos[-1], fps) as writer:
            for objects in known[sequence]:
                writer.write(draw_frame(objects, results))
    return videos


def draw_frame(objects: Sequence[Record], results: Mapping[str, str | Path]) -> Picture:
    """A frame, once for each of the methods.

    Args:
        objects: the records of the frame, one for each object.
        results: see compare_results.
    """
    frame = objects[0]
    with named_if_unreadable(frame):
        image = np.ascontiguousarray(read_image(frame["file_name"], "RGB"))
    panels = []
    for name, folder in results.items():
        ids = read_ids(result_file(Path(folder, frame["sequence"]), frame))
        # where there is one object, results may be 0 and 255 like the masks
        keys = [record["object_id"] for record in objects]
        masks = np.stack([ids > 0 if key is None else ids == key for key in keys])
        drawn = draw_instances(image, masks, range(len(masks)))
        panels.append((name + _score(objects, masks), drawn))
    return tile(panels)


def _by_sequence(records: Sequence[Record]) -> dict[str, list[list[Record]]]:
    """Sequence -> frames -> the records of their objects."""
    frames: dict[str, dict[int, list[Record]]] = {}
    for record in records:
        of_sequence = frames.setdefault(record["sequence"], {})
        of_sequence.setdefault(record["frame_id"], []).append(record)
    return {name: list(of_sequence.values()) for name, of_sequence in frames.items()}


def _score(objects: Sequence[Record], masks: NDArray[np.bool_]) -> str:
    if any("mask_file" not in record for record in objects):
        return ""
    found = []
    for record, mask in zip(objects, masks, strict=True):
        annotated = read_object_mask(record)
        found.append(region_similarity(mask, annotated == 1, annotated == VOID))
    return f"   J {100 * np.mean(found):.0f}"
