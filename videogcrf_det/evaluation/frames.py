"""The frames of a video with what a model gives for them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from detectron2.utils import comm

from videogcrf_det.progress import progress


def evaluated_frames(
    video: Mapping[str, Any], outputs: Iterable[Any]
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Each frame's dataset dict and its output, one by one, with a bar in the main process.

    Args:
        video: as VideoDatasetMapper makes it.
        outputs: what the model gives for it, as many as there are frames.
    """
    records = video["records"]
    yield from progress(
        zip(records, outputs, strict=True),
        desc=str(video["video_name"]),
        total=len(records),
        unit="frame",
        leave=False,
        disable=not comm.is_main_process(),
    )
