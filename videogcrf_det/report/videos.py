"""The videos of the report page, and pictures of single frames of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from videogcrf_det.drawing.overlay import Picture
from videogcrf_det.drawing.panels import shrink, tile, write_jpeg
from videogcrf_det.drawing.predictions import (
    Record,
    detections_of,
    draw_video,
)
from videogcrf_det.evaluation.results_file import Results
from videogcrf_det.video import VideoWriter

MAX_WIDTH = 1280  # pixels of a video, about what a page of it is wide


@dataclass
class DrawnVideo:
    """A video as it was drawn.

    Attributes:
        name: the video's.
        file: the mp4, and
        poster: the picture to show before it plays; both relative to the page.
        frames: how many it has.
        height, width: of the mp4, in pixels.
        stills: for some frames the file of each picture by its caption, relative to the page.
        still_size: height and width of these.
    """

    name: str
    file: str
    poster: str
    frames: int
    height: int = 0
    width: int = 0
    stills: dict[int, dict[str, str]] = field(default_factory=dict)
    still_size: tuple[int, int] = (0, 0)


def write_video(
    folder: Path,
    video: Record,
    results: Mapping[str, Results],
    class_names: Sequence[str],
    *,
    name: str,
    stills: Collection[int],
    fps: float,
    progress: tqdm,
) -> DrawnVideo:
    """Draw input, ground truth and detections of a video, reading it frame by frame.

    Args:
        folder: that of the page; gets ``videos/<name>.mp4`` and ``.jpg``, and ``frames/``.
        video: as load_videos gives it.
        results: the detections by caption; see results_file.confident_results.
        class_names: ``thing_classes``.
        name: of its files, without suffix; see file_name.
        stills: positions of the frames whose pictures are also written one by one.
        fps: frames a second.
        progress: is told of every frame.

    Raises:
        InputError: a frame cannot be read.
    """
    num_frames = len(video["frames"])
    files = f"videos/{name}.mp4", f"videos/{name}.jpg"
    drawn = DrawnVideo(video["video_name"], *files, frames=num_frames)
    detections = {caption: detections_of(video, found) for caption, found in results.items()}
    with VideoWriter(folder / drawn.file, fps) as writer:
        for number, panels in enumerate(draw_video(video["frames"], detections, class_names)):
            picture = shrink(tile(list(panels.items())), MAX_WIDTH)
            writer.write(picture)
            if number == num_frames // 2:
                write_jpeg(folder / drawn.poster, picture)
                drawn.height, drawn.width = picture.shape[:2]
            if number in stills:
                drawn.stills[number] = _write_stills(folder, f"{name}-{number:05d}", panels)
                drawn.still_size = panels["Input"].shape[:2]
            progress.update()
    return drawn


def _write_stills(folder: Path, name: str, panels: Mapping[str, Picture]) -> dict[str, str]:
    files = {}
    for index, (caption, picture) in enumerate(panels.items()):
        files[caption] = f"frames/{name}-{index}.jpg"
        write_jpeg(folder / files[caption], picture)
    return files
