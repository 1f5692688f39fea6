"""Parts of the report page, as HTML."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from videogcrf_det.visualization.compare import Difference
from videogcrf_det.visualization.runs import Run

COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
TASKS = {"segm": "Masks", "bbox": "Boxes"}
NOTES = {
    "AP": "mask AP, mean over IoU 0.50 to 0.95",
    "AP50": "at IoU 0.50",
    "AP75": "at IoU 0.75",
}
Value = float | None


class Step(NamedTuple):
    """One step of how the results were made."""

    text: str
    command: str = ""


def text(value: str) -> str:
    """Plain text as HTML."""
    return html.escape(value)


def section(title: str, content: str) -> str:
    """A titled part of the page; nothing if it has no content."""
    return f"<section><h2>{text(title)}</h2>{content}</section>" if content else ""


def note(value: str) -> str:
    """A paragraph in a lighter colour."""
    return f'<p class="note">{text(value)}</p>'


def percent(value: Value) -> str:
    """One decimal, a dash for what is not defined."""
    return "&ndash;" if value is None or value != value else f"{value:.1f}"


def gain(value: Value, reference: Value) -> str:
    """A signed difference in its colour; nothing if either is not defined."""
    if value is None or reference is None or value != value or reference != reference:
        return ""
    difference = value - reference
    kind = "gain" if difference > 0.05 else "loss" if difference < -0.05 else "note"
    return f'<span class="{kind}">{difference:+.1f}</span>'


def cards(run: Run, baseline: Run | None, facts: Mapping[str, str]) -> str:
    """The numbers at the head of the page."""
    figures = run.results.get("segm", {})
    reference = baseline.results.get("segm", {}) if baseline else {}
    shown = []
    for name, meaning in NOTES.items():
        change = gain(figures.get(name), reference.get(name))
        against = f"; {change} against the baseline" if change else ""
        shown.append(
            f'<div class="card score"><b>{percent(figures.get(name))}</b>'
            f"<strong>{name}</strong><span>{meaning}{against}</span></div>"
        )
    shown += [
        f'<div class="card"><b>{text(value)}</b><strong>{text(name)}</strong></div>'
        for name, value in facts.items()
    ]
    return "".join(shown)


def figures(run: Run, baseline: Run | None) -> str:
    """The tables of AP, of ignored detections and of temporal stability."""
    head = "".join(f'<th scope="col">{name}</th>' for name in (*COLUMNS, "ignored"))
    rows = ""
    for task, title in TASKS.items():
        if task not in run.results:
            continue
        rows += _figure_row(f"{title}, {run.name}" if baseline else title, run.results[task])
        if baseline and task in baseline.results:
            rows += _figure_row(f"{title}, {baseline.name}", baseline.results[task])
            changes = "".join(
                f"<td>{gain(run.results[task].get(c), baseline.results[task].get(c))}</td>"
                for c in COLUMNS
            )
            rows += f'<tr><th scope="row" class="note">difference</th>{changes}<td></td></tr>'
    if not rows:
        return section("Figures", note("The data set has no annotated instance: there is no AP."))
    table = f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>"
    caption = note(
        "In percent; ignored: detections that lie on do-not-care regions and count neither way."
    )
    return section(
        "Figures", f'{caption}<div class="sheet">{table}</div>{_stability(run, baseline)}'
    )


def _figure_row(title: str, values: Mapping[str, Value]) -> str:
    cells = "".join(f"<td>{percent(values.get(column))}</td>" for column in COLUMNS)
    ignored = values.get("ignored")
    count = "&ndash;" if ignored is None else f"{ignored:.0f}"
    return f'<tr><th scope="row">{text(title)}</th>{cells}<td>{count}</td></tr>'


def _stability(run: Run, baseline: Run | None) -> str:
    """Bars of the temporal stability, with the ground truth as what can be reached."""
    measured = run.results.get("temporal_stability", {})
    rows = [(run.name, measured.get("predictions"), True)]
    if baseline:
        value = baseline.results.get("temporal_stability", {}).get("predictions")
        rows.append((baseline.name, value, False))
    rows.append(("Ground truth", measured.get("ground_truth"), False))
    if all(value is None for _, value, _ in rows):
        return ""
    bars = "".join(
        f"<span>{text(name)}</span>{_bar(value, is_run)}" for name, value, is_run in rows
    )
    caption = note(
        "Temporal stability: mean IoU of masks of successive frames, warped by optical flow. What "
        "flickers or comes and goes lowers it; the ground truth shows what can be reached."
    )
    return f'{caption}<div class="sheet bars">{bars}</div>'


def _bar(value: Value, is_run: bool) -> str:
    kind = "bar run" if is_run else "bar"
    width = 0 if value is None else value / 100
    return f'<div class="{kind}" style="--value: {width:.4f}"><i></i>{percent(value)}</div>'


def legend(run: Run, baseline: Run | None) -> str:
    """Which colour is which; nothing if there is one run alone."""
    if baseline is None:
        return ""
    return (
        f'<div class="legend"><span class="run"><i></i>{text(run.name)}</span>'
        f"<span><i></i>{text(baseline.name)}</span></div>"
    )


def sequences(run: Run, baseline: Run | None) -> str:
    """Mask AP of every video, as bars."""
    task = "segm" if any("segm" in figures for figures in run.sequences.values()) else "bbox"
    if not run.sequences:
        return ""
    rows = ""
    for name, figures in run.sequences.items():
        bars = _bar(figures.get(task, {}).get("AP"), True)
        if baseline:
            of_baseline = baseline.sequences.get(name, {})
            bars += _bar(of_baseline.get(task, {}).get("AP"), False)
        frames = f'<small class="note"> {figures["frames"]} frames</small>'
        rows += f"<span>{text(name)}{frames}</span><div>{bars}</div>"
    title = "Mask AP of each video" if task == "segm" else "Box AP of each video"
    return section(title, f'{legend(run, baseline)}<div class="sheet bars">{rows}</div>')


def difference_frames(title: str, differences: Sequence[Difference]) -> str:
    """Pictures of frames, with the scores of the two."""
    if not differences:
        return ""
    frames = "".join(
        f'<figure><img src="{_embedded(d.picture)}" alt="{text(d.video)}, frame {d.frame}">'
        f"<figcaption><strong>{text(d.video)}</strong>, frame {d.frame}: VideoGCRF "
        f"{100 * d.run:.0f}, baseline {100 * d.baseline:.0f}</figcaption></figure>"
        for d in differences
    )
    return f'<h3 style="margin-top: 24px">{text(title)}</h3><div class="frames">{frames}</div>'


def player(name: str, num_frames: int, video: Path, poster: bytes, folder: Path) -> str:
    """A video that is loaded when it is played."""
    return (
        f"<article><h3>{text(name)} <small>{num_frames} frames</small></h3>"
        '<div class="player"><video controls loop muted playsinline preload="none" '
        f'poster="{_embedded(poster)}" src="{_link(video, folder)}"></video></div></article>'
    )


def charts(svgs: Mapping[str, str]) -> str:
    """Charts by title."""
    shown = "".join(
        f"<figure><figcaption>{text(title)}</figcaption>{svg}</figure>"
        for title, svg in svgs.items()
    )
    return f'<div class="curves">{shown}</div>'


def steps(values: Sequence[Step]) -> str:
    """A numbered list of what to do, with commands."""
    items = "".join(
        f"<li>{text(step.text)}"
        + (f"<pre><code>{text(step.command)}</code></pre>" if step.command else "")
        + "</li>"
        for step in values
    )
    return f"<ol>{items}</ol>" if items else ""


def versions(values: Mapping[str, str]) -> str:
    """What it ran with."""
    items = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in values.items()
    )
    return f'<div class="sheet"><dl>{items}</dl></div>' if items else ""


def differing_keys(keys: Sequence[tuple[str, str, str]]) -> str:
    """The keys in which two configs differ."""
    if not keys:
        return ""
    rows = "".join(
        f'<tr><th scope="row"><code>{text(key)}</code></th><td>{text(one)}</td>'
        f"<td>{text(other)}</td></tr>"
        for key, one, other in keys
    )
    return (
        '<div class="sheet"><table><thead><tr><th scope="col">key</th>'
        '<th scope="col">VideoGCRF</th><th scope="col">Baseline</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def configs(runs: Sequence[Run]) -> str:
    """Whole configurations, to be unfolded."""
    return "".join(
        f"<details><summary>Configuration of {text(run.folder.name)}</summary>"
        f"<pre><code>{text(run.config)}</code></pre></details>"
        for run in runs
    )


def _embedded(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def _link(path: Path, folder: Path) -> str:
    """A file as a relative URL."""
    relative = path.resolve().relative_to(folder.resolve())
    return html.escape(quote(relative.as_posix()))
