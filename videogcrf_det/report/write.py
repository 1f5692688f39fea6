"""The page about a run: metrics, where it differs from a baseline, videos, how to repeat it."""

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog

from videogcrf_det.data import load_videos
from videogcrf_det.data.own_data import register_entries
from videogcrf_det.drawing.predictions import (
    Record,
    check_options,
    file_name,
    unique_name,
)
from videogcrf_det.evaluation.record import evaluation_file
from videogcrf_det.evaluation.results_file import Results, confident_results
from videogcrf_det.files import atomic_write
from videogcrf_det.progress import progress
from videogcrf_det.report import metrics
from videogcrf_det.report.compare import Difference, greatest_differences, score_video
from videogcrf_det.report.curves import draw_charts
from videogcrf_det.report.metrics import KINDS, Runs
from videogcrf_det.report.model import EvaluatedModel, read_model
from videogcrf_det.report.page import render_page
from videogcrf_det.report.timeline import Lane, timeline
from videogcrf_det.report.videos import DrawnVideo, write_video
from videogcrf_det.versions import collect_versions


class Step(NamedTuple):
    """One step of how the results were made."""

    text: str
    command: str = ""


class Score(NamedTuple):
    """The scores of a run, in percent, of a frame or of each frame of a video."""

    name: str
    kind: str  # one of metrics.KINDS
    values: list[float]

    @property
    def mean(self) -> float:
        """The mean of the frames."""
        return sum(self.values) / len(self.values)


def write_report(
    output_dir: str | os.PathLike[str],
    run: str | os.PathLike[str],
    baseline: str | os.PathLike[str] | None = None,
    *,
    dataset: str | None = None,
    confidence_threshold: float = 0.5,
    fps: float = 10,
    title: str | None = None,
    summary: str | None = None,
    facts: Mapping[str, str] | None = None,
    steps: Sequence[Step] | None = None,
) -> Path:
    """Write a page about an evaluated model (docs/report.md).

    Args:
        output_dir: gets ``index.html`` and the ``videos/`` and ``frames/`` that it shows.
        run: the OUTPUT_DIR of a training or of an evaluation.
        baseline: the same of a model to compare with.
        dataset: by default the only one that the run was evaluated on.
        confidence_threshold: detections that score less are neither drawn nor compared.
        fps: frames a second of the videos.
        title: the headline.
        summary: a sentence or two below it.
        facts: further numbers for the head of the page, texts by name.
        steps: how it was made; by default with the configs of the runs.

    Returns:
        the page.

    Raises:
        InputError: something of the above is not usable. There is no page then.
    """
    folder = Path(output_dir)
    check_options(folder, confidence_threshold, fps)
    runs = _read_runs(run, baseline, dataset)
    dataset = next(iter(runs.values())).dataset
    own = next(iter(runs.values())).settings.get("DATASETS.OWN") or []
    if dataset not in DatasetCatalog:  # else the caller's
        register_entries([entry for entry in own if entry.startswith(f"{dataset}=")])
    everything = load_videos(dataset)
    results = {
        name: confident_results(dataset, everything, run.predictions, confidence_threshold)
        for name, run in runs.items()
    }
    videos = _by_evaluation_names(everything)
    scores = _score(videos, results)
    sides = _sides(runs, scores)
    shown = [difference for side in sides.values() for difference in side]
    drawn = _write_videos(folder, dataset, videos, results, shown, fps)
    class_names = MetadataCatalog.get(dataset).thing_classes
    lanes = [timeline(video, results, class_names) for video in videos]
    players = [_player(*each) for each in zip(drawn, scores, lanes, strict=True)]
    page = render_page(
        "report.html",
        title=title or f"{next(iter(runs))} on {dataset}",
        summary=summary or _summary(runs, videos),
        facts=facts or {},
        steps=_steps(runs, folder) if steps is None else steps,
        threshold=f"{confidence_threshold:.0%}",
        videos=players,
        lead=_greatest_gain(players) if len(runs) > 1 else None,
        links={video.name: f"video-{number}" for number, video in enumerate(drawn)},
        sides={
            side: [_still(d, drawn[d.video], scores[d.video], fps) for d in found]
            for side, found in sides.items()
        },
        **_metrics(runs),
    )
    path = folder / "index.html"
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _read_runs(
    run: str | os.PathLike[str], baseline: str | os.PathLike[str] | None, dataset: str | None
) -> dict[str, EvaluatedModel]:
    """The run and its baseline by their names on the page."""
    first = read_model(run, dataset)
    names = "Model", "Baseline"
    if "video_gcrf" in first.settings.get("MODEL.BACKBONE.NAME", ""):
        names = "VideoGCRF", "Baseline"
    elif first.settings.get("MODEL.VIDEO_GCRF.FIELDS"):
        names = "With fields", "Per frame"
    runs = {names[0]: first}
    if baseline is not None:
        runs[names[1]] = read_model(baseline, first.dataset)
    return runs


def _by_evaluation_names(videos: Sequence[Record]) -> list[Record]:
    """The videos, without still images, by the names that they have in evaluation.json."""
    times = Counter(video["video_name"] for video in videos)
    return [
        {**video, "video_name": f"{video['video_name']} ({video['video_id']})"}
        if times[video["video_name"]] > 1
        else video
        for video in videos
        if video["video_id"] is not None
    ]


def _score(videos: Sequence[Record], results: Mapping[str, Results]) -> list[list[Score]]:
    """For each video the scores of the runs."""
    return [
        [
            Score(name, kind, [100 * score for score in score_video(video, found)])
            for (name, found), kind in zip(results.items(), KINDS, strict=False)
        ]
        for video in progress(videos, desc="Scores", unit="video")
    ]


def _sides(runs: Runs, scores: Sequence[list[Score]]) -> dict[str, list[Difference]]:
    """The frames on which the run is better or worse than the baseline, by headline."""
    if len(runs) < 2:
        return {}
    gains = [
        [one - other for one, other in zip(run.values, baseline.values, strict=True)]
        for run, baseline in scores
    ]
    losses = [[-value for value in of_video] for of_video in gains]
    name = next(iter(runs))
    return {
        f"{name} is better": greatest_differences(gains),
        f"{name} is worse": greatest_differences(losses),
    }


def _write_videos(
    folder: Path,
    dataset: str,
    videos: Sequence[Record],
    results: dict[str, Results],
    shown: Sequence[Difference],
    fps: float,
) -> list[DrawnVideo]:
    class_names = MetadataCatalog.get(dataset).thing_classes
    # the baseline comes first: what changes stands after it
    panels = {name: results[name] for name in reversed(results)}
    num_frames = sum(len(video["frames"]) for video in videos)
    taken: set[str] = set()
    names = [unique_name(file_name(video["video_name"]), taken) for video in videos]
    with progress(total=num_frames, desc="Videos", unit="frame") as bar:
        return [
            write_video(
                folder,
                video,
                panels,
                class_names,
                name=names[number],
                stills={difference.frame for difference in shown if difference.video == number},
                fps=fps,
                progress=bar,
            )
            for number, video in enumerate(videos)
        ]


def _summary(runs: Runs, videos: Sequence[Record]) -> str:
    run, *baselines = runs.values()
    num_frames = sum(len(video["frames"]) for video in videos)
    beside = "".join(f", beside the baseline {baseline.folder}" for baseline in baselines)
    return f"{run.folder}, evaluated on {len(videos)} videos of {num_frames} frames{beside}."


def _metrics(runs: Runs) -> dict[str, Any]:
    """The page's evaluations, trainings and configs."""
    return {
        "runs": runs,
        "legend": list(zip(runs, KINDS, strict=False)),
        "warnings": [
            _advice(name, run) for name, run in runs.items() if not run.evaluation.results
        ],
        "cards": metrics.cards(runs),
        "columns": metrics.COLUMNS,
        "tables": metrics.ap_tables(runs),
        "speeds": metrics.SPEEDS,
        "speed_tables": metrics.speed_tables(runs),
        "track_columns": [name for names in metrics.TRACKS.values() for name in names],
        "track_table": metrics.track_table(runs),
        "ignored": metrics.ignored(runs),
        "stability": metrics.stability(runs),
        "stability_pairs": metrics.stability_pairs(runs),
        "sequences": metrics.sequences(runs),
        "charts": draw_charts([run.metrics for run in runs.values()]),
        "settings": metrics.differing_settings(runs),
        "versions": _versions(runs),
    }


def _advice(name: str, run: EvaluatedModel) -> str:
    missing = evaluation_file(run.folder, run.dataset)
    command = _command(run, run.folder, "--eval-only", "--resume")
    return f"There are no metrics of {name}, for want of {missing}; to have them: {command}"


def _command(run: EvaluatedModel, output: str | Path, *flags: str) -> str:
    config = str(run.folder / "config.yaml")
    words = ["videogcrf", "train", "--config-file", config, *flags]
    return shlex.join([*words, "OUTPUT_DIR", str(output)])


def _steps(runs: Runs, folder: Path) -> list[Step]:
    """The commands that make the same again, in other folders."""
    root = os.environ.get("DETECTRON2_DATASETS")
    env = f"DETECTRON2_DATASETS={shlex.quote(root)} " if root else ""
    steps = []
    page = ["videogcrf", "report", "--output", f"{folder}-again"]
    for (name, run), option in zip(runs.items(), ("--run", "--baseline"), strict=False):
        page += [option, f"{run.folder}-again"]
        if run.config:
            flags = [] if run.metrics else ["--eval-only"]
            work = "Train and evaluate" if run.metrics else "Evaluate"
            command = env + _command(run, f"{run.folder}-again", *flags)
            steps.append(Step(f"{work}: {name}", command))
    page += ["--dataset", next(iter(runs.values())).dataset]
    return [*steps, Step("Write the page", env + shlex.join(page))]


def _versions(runs: Runs) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The versions that each run used, and the rows of a table of them."""
    found = {name: run.evaluation.versions for name, run in runs.items()}
    found["This page"] = collect_versions()
    names = dict.fromkeys(name for versions in found.values() for name in versions)
    rows = [(name, [versions.get(name, "") for versions in found.values()]) for name in names]
    return list(found), rows


def _player(drawn: DrawnVideo, scores: Sequence[Score], lanes: Sequence[Lane]) -> dict[str, Any]:
    in_a_row = drawn.width > 2 * drawn.height
    return {**vars(drawn), "scores": scores, "lanes": lanes, "in_a_row": in_a_row}


def _greatest_gain(players: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Of the videos, that in which the run is better than its baseline by most."""

    def gain(player: dict[str, Any]) -> float:
        run, baseline = player["scores"]
        return float(run.mean - baseline.mean)

    return max(players, key=gain, default=None)


def _still(
    difference: Difference, drawn: DrawnVideo, scores: Sequence[Score], fps: float
) -> dict[str, Any]:
    height, width = drawn.still_size
    return {
        "video": drawn.name,
        "number": difference.frame,
        "file": drawn.file,
        "time": f"{difference.frame / fps:.2f}",
        "pictures": drawn.stills[difference.frame],
        "height": height,
        "width": width,
        "scores": [score._replace(values=[score.values[difference.frame]]) for score in scores],
        "change": scores[0].values[difference.frame] - scores[1].values[difference.frame],
    }
