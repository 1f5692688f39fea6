"""The page that shows what a training run came to: scores, curves, videos, and how to repeat it."""

import html
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from videogcrf_det.files import atomic_write
from videogcrf_det.visualization.clips import spread
from videogcrf_det.visualization.curves import draw_curves, read_metrics
from videogcrf_det.visualization.page import PAGE, STYLE
from videogcrf_det.visualization.predictions import VideoFiles

NUM_KEY_FRAMES = 3
COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
TASKS = {"segm": "Masks", "bbox": "Boxes"}


class Step(NamedTuple):
    """One step of how the results were made."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class DemoReport:
    """What is on the page.

    Attributes:
        title: the headline.
        summary: a sentence or two below it, plain text.
        results: metrics in percent by task and name, as detectron2's evaluation returns them:
            ``{"segm": {"AP": 41.2, "AP50": ...}, "bbox": {...}}``.
        metrics_file: the ``metrics.json`` of the training run.
        videos: what visualize_predictions returned, in the page's folder or below it.
        config: the configuration as YAML, ``cfg.dump()``.
        versions: what it ran with; see collect_versions.
        steps: how it was made.
        facts: further numbers for the head of the page, texts by name: ``{"Training": "3 min"}``.
        confidence_threshold: the score from which detections were drawn.
    """

    title: str
    summary: str
    results: Mapping[str, Mapping[str, float]]
    metrics_file: Path
    videos: Sequence[VideoFiles]
    config: str
    versions: Mapping[str, str]
    steps: Sequence[Step] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    confidence_threshold: float = 0.5


def write_demo_page(output_dir: str | os.PathLike[str], report: DemoReport) -> Path:
    """Write ``index.html``, which loads nothing but the videos and pictures beside it.

    Args:
        output_dir: the folder of the page.

    Returns:
        the file.

    Raises:
        InputError: the training log cannot be read.
        ValueError: a video or picture lies outside of ``output_dir``.
    """
    folder = Path(output_dir)
    curves = draw_curves(read_metrics(report.metrics_file))
    page = PAGE.substitute(
        style=STYLE,
        title=_text(report.title),
        summary=_text(report.summary),
        cards=_cards(report.results.get("segm", {}), report.facts),
        table=_table(report.results),
        videos="".join(_video(video, folder) for video in report.videos),
        threshold=f"{report.confidence_threshold:.0%}",
        curves="".join(
            f"<figure><figcaption>{_text(title)}</figcaption>{svg}</figure>"
            for title, svg in curves.items()
        ),
        steps="".join(_step(step) for step in report.steps),
        versions="".join(
            f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"
            for name, value in report.versions.items()
        ),
        config=_text(report.config),
    )
    path = folder / "index.html"
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def collect_versions(device: str) -> dict[str, str]:
    """The versions of what matters for the results.

    Args:
        device: ``cfg.MODEL.DEVICE``.
    """
    import detectron2
    import torch

    import videogcrf_det

    threads = torch.get_num_threads()
    name = f"CPU, {threads} thread{'s' if threads > 1 else ''}"
    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
    return {
        "videogcrf-det": videogcrf_det.__version__,
        "detectron2": detectron2.__version__,
        "PyTorch": torch.__version__,
        "Python": platform.python_version(),
        "System": f"{platform.system()} {platform.machine()}",
        "Device": name,
    }


def _text(value: str) -> str:
    return html.escape(value)


def _link(path: Path, folder: Path) -> str:
    """A file as a relative URL."""
    relative = path.resolve().relative_to(folder.resolve())
    return html.escape(quote(relative.as_posix()))


def _percent(value: float | None) -> str:
    return "&ndash;" if value is None or math.isnan(value) else f"{value:.1f}"


def _cards(metrics: Mapping[str, float], facts: Mapping[str, str]) -> str:
    notes = {
        "AP": "mask AP, mean over IoU 0.50 to 0.95",
        "AP50": "at IoU 0.50",
        "AP75": "at IoU 0.75",
    }
    cards = [
        f'<div class="card score"><b>{_percent(metrics.get(name))}</b>'
        f"<strong>{name}</strong><span>{note}</span></div>"
        for name, note in notes.items()
    ]
    cards += [
        f'<div class="card"><b>{_text(value)}</b><strong>{_text(name)}</strong></div>'
        for name, value in facts.items()
    ]
    return "".join(cards)


def _table(results: Mapping[str, Mapping[str, float]]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    rows = "".join(
        f'<tr><th scope="row">{name}</th>'
        + "".join(f"<td>{_percent(results[task].get(column))}</td>" for column in COLUMNS)
        + "</tr>"
        for task, name in TASKS.items()
        if task in results
    )
    return f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _video(video: VideoFiles, folder: Path) -> str:
    shown = [video.frames[index] for index in spread(len(video.frames), NUM_KEY_FRAMES)]
    links = [_link(frame, folder) for frame in shown]
    stills = "".join(
        f'<a href="{link}"><img src="{link}" loading="lazy" '
        f'alt="{_text(video.name)}, frame {int(frame.stem)}"></a>'
        for frame, link in zip(shown, links, strict=True)
    )
    player = (
        f'<video controls loop muted playsinline preload="metadata" poster="{links[0]}" '
        f'src="{_link(video.video, folder)}"></video>'
    )
    return (
        f"<article><h3>{_text(video.name)} <small>{len(video.frames)} frames</small></h3>"
        f'<div class="player">{player}</div><div class="stills">{stills}</div></article>'
    )


def _step(step: Step) -> str:
    command = f"<pre><code>{_text(step.command)}</code></pre>" if step.command else ""
    return f"<li>{_text(step.text)}{command}</li>"
