"""The page about a run: figures, curves, videos, and where it differs from a baseline."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from detectron2.data import MetadataCatalog
from tqdm import tqdm

from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.video import VideoWriter, require_av
from videogcrf_det.visualization import sections
from videogcrf_det.visualization.compare import Difference, DifferenceCollector, frame_score
from videogcrf_det.visualization.curves import draw_curves
from videogcrf_det.visualization.page import PAGE, STYLE
from videogcrf_det.visualization.panels import encode_jpeg, side_by_side, two_rows
from videogcrf_det.visualization.predictions import (
    DetectedVideo,
    DrawnFrame,
    draw_video,
    file_name,
    videos_from_files,
)
from videogcrf_det.visualization.runs import Run, differing_keys, load_run
from videogcrf_det.visualization.sections import Step

NUM_DIFFERENCES = 6  # frames shown for each direction
RUN, BASELINE = "VideoGCRF", "Baseline"


class DrawnVideo(NamedTuple):
    """A video of the page."""

    name: str
    num_frames: int
    path: Path
    poster: bytes  # a JPEG


def write_report(
    output_dir: str | os.PathLike[str],
    run: str | os.PathLike[str],
    baseline: str | os.PathLike[str] | None = None,
    *,
    dataset: str | None = None,
    title: str | None = None,
    summary: str | None = None,
    facts: Mapping[str, str] | None = None,
    steps: Sequence[Step] = (),
    confidence_threshold: float = 0.5,
    fps: float = 10,
) -> Path:
    """Write ``index.html`` and ``videos/``, which load nothing from anywhere else.

    Args:
        output_dir: the folder of the page.
        run: an OUTPUT_DIR that was evaluated (docs/evaluation.md).
        baseline: another one, to compare it with.
        dataset: a registered data set; by default the only one that the run was evaluated on.
        title, summary: the headline and a sentence or two below it.
        facts: further numbers for the head of the page, by name.
        steps: how it was made; by default the commands for the runs as they are.
        confidence_threshold: detections that score less are not drawn.
        fps: frames a second of the videos.

    Returns:
        the page.

    Raises:
        InputError: something of the above is not usable.
    """
    require_av()
    if not 0 <= confidence_threshold <= 1:
        raise InputError(f"--confidence-threshold must be from 0 to 1, got {confidence_threshold}")
    folder = Path(output_dir)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output names {folder}, which is a file: name a folder")
    runs = [load_run(RUN, run, dataset)]
    if baseline is not None:
        runs.insert(0, load_run(BASELINE, baseline, runs[0].dataset))
    first = runs[-1]  # what the page is about
    other = runs[0] if baseline is not None else None
    videos = videos_from_files(
        first.dataset, {r.name: r.predictions for r in runs}, confidence_threshold
    )
    class_names = MetadataCatalog.get(first.dataset).thing_classes
    differences = DifferenceCollector()
    drawn = [_draw(video, class_names, folder / "videos", fps, differences) for video in videos]
    summary = summary or f"{first.folder.name} on {first.dataset}" + (
        f", beside {other.folder.name}." if other else "."
    )
    page = PAGE.substitute(
        style=STYLE,
        title=sections.text(title or "Instance segmentation of videos"),
        summary=sections.text(summary),
        cards=sections.cards(first, other, facts or {}),
        sections="".join(
            [
                sections.figures(first, other),
                sections.sequences(first, other),
                _differences(differences),
                sections.section("Videos", _players(drawn, folder, confidence_threshold)),
                sections.section("Training", _curves(first, other)),
                _provenance(first, other, steps or _steps(first, other, folder)),
            ]
        ),
    )
    path = folder / "index.html"
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _draw(
    video: DetectedVideo,
    class_names: list[str],
    folder: Path,
    fps: float,
    differences: DifferenceCollector,
) -> DrawnVideo:
    """Draw a video, and hand over the frames on which two runs differ."""
    path = folder / f"{file_name(video.name)}.mp4"
    middle, poster = len(video.records) // 2, b""
    with VideoWriter(path, fps) as writer:
        frames = draw_video(video, class_names)
        for number, frame in enumerate(
            tqdm(frames, desc=video.name, total=len(video.records), unit="frame", leave=False)
        ):
            few = len(frame.panels) < 4
            picture = side_by_side(frame.panels) if few else two_rows(frame.panels)
            writer.write(picture)
            if number == middle:
                poster = encode_jpeg(picture)
            scores = _scores(frame)
            if scores and differences.wants(video.name, number, *scores):
                jpeg = encode_jpeg(picture)
                differences.add(Difference(video.name, number, *scores, jpeg))
    return DrawnVideo(video.name, len(video.records), path, poster)


def _scores(frame: DrawnFrame) -> tuple[float, float] | None:
    """Those of run and baseline, if there are two that say something."""
    if BASELINE not in frame.detections:
        return None
    run, baseline = (
        frame_score(frame.detections[name], frame.annotated) for name in (RUN, BASELINE)
    )
    # None: nothing is annotated and nothing detected, which could not be better
    return (1.0 if run is None else run, 1.0 if baseline is None else baseline)


def _players(videos: Sequence[DrawnVideo], folder: Path, threshold: float) -> str:
    note = (
        "A prediction takes the colour of the annotated instance that it overlaps (IoU 0.5 or "
        "more) and keeps it while it can be followed; any other has a colour of its own. "
        f"Percentages are confidences, from {threshold:.0%}. Hatched regions are do-not-care: they "
        "count neither for nor against."
    )
    return sections.note(note) + "".join(
        sections.player(video.name, video.num_frames, video.path, video.poster, folder)
        for video in videos
    )


def _differences(collected: DifferenceCollector) -> str:
    gains, losses = collected.greatest(NUM_DIFFERENCES)
    if not gains and not losses:
        return ""
    note = (
        "Every frame has a score: detections and annotated instances are paired by mask IoU, and "
        "the IoUs of the pairs are added up and divided by the larger of the two numbers. These "
        "are the frames on which the scores of the two differ most, at most two of a video."
    )
    return sections.section(
        "Where they differ most",
        sections.note(note)
        + sections.difference_frames(f"{RUN} is better", gains)
        + sections.difference_frames(f"{BASELINE} is better", losses),
    )


def _curves(run: Run, baseline: Run | None) -> str:
    charts = draw_curves([run.metrics, *([baseline.metrics] if baseline else [])])
    if not charts:
        return ""
    return sections.legend(run, baseline) + sections.charts(charts)


def _steps(run: Run, baseline: Run | None, folder: Path) -> list[Step]:
    """How to have the same again."""
    runs = [run] if baseline is None else [run, baseline]
    words = [f"--run {run.folder}", *([f"--baseline {baseline.folder}"] if baseline else [])]
    return [
        *(
            Step(
                f"Train and evaluate, {each.name}",
                f"python tools/train_net.py --config-file {each.folder / 'config.yaml'}",
            )
            for each in runs
            if each.config
        ),
        Step("Write this page", f"python tools/report.py {' '.join(words)} --output {folder}"),
    ]


def _provenance(run: Run, baseline: Run | None, steps: Sequence[Step]) -> str:
    differing = []
    if baseline and run.config and baseline.config:
        differing = differing_keys(run.config, baseline.config)
    content = (
        sections.steps(steps)
        + sections.versions(run.versions)
        + sections.differing_keys(differing)
        + sections.configs([r for r in (run, baseline) if r is not None and r.config])
    )
    return sections.section("How it was made", content)
