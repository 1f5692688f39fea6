"""The metrics of a run and of its baseline, arranged for the page."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from videogcrf_det.report.model import EvaluatedModel

COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
SPEEDS = ("slow", "medium", "fast")
TRACKS = {  # columns by task
    "ytvis": ("AP", "AP50", "AP75", "AR1", "AR10"),
    "tracking": ("HOTA", "DetA", "AssA", "IDF1", "MOTA", "switches"),
}
TASKS = {"segm": "Masks", "bbox": "Boxes"}
CARDS = {
    "AP": "of masks, mean over IoU 0.50 to 0.95",
    "AP50": "of masks, at IoU 0.50",
    "AP75": "of masks, at IoU 0.75",
    "Track AP": "of masks through whole videos",
    "Stability": "temporal, of masks",
}
KINDS = ("run", "baseline")  # in the order of the runs; they have colours on the page
STABILITY = "temporal_stability"

Metric = float | None  # in percent
Runs = Mapping[str, EvaluatedModel]  # by their names on the page, the baseline second


class Row(NamedTuple):
    """Metrics of one kind."""

    name: str
    kind: str  # its colour: one of KINDS, or "truth"
    values: list[Metric]


class Table(NamedTuple):
    """Metrics of a run and of its baseline below each other."""

    title: str
    rows: list[Row]
    changes: list[Metric]  # run less baseline; empty without a baseline


class VideoMetrics(NamedTuple):
    """Metrics of one video."""

    name: str
    frames: int
    instances: int
    bars: list[Row]  # AP of masks
    change: Metric
    stability: list[Row]


class Card(NamedTuple):
    """A metric for the head of the page."""

    name: str
    note: str
    value: Metric
    change: Metric  # against the baseline


def cards(runs: Runs) -> list[Card]:
    """The metrics that matter most; none where there is no evaluation of the run."""
    values = [
        {
            **(_results(run).get("segm") or {}),
            "Track AP": (_results(run).get("ytvis") or {}).get("AP"),
            "Stability": _predicted(_results(run)),
        }
        for run in runs.values()
    ]
    rows = _rows(runs, [[of_run.get(name) for name in CARDS] for of_run in values])
    changes = _changes(rows) or [None] * len(CARDS)
    found = map(Card, CARDS, CARDS.values(), rows[0].values, changes)
    return [card for card in found if card.value is not None]


def ap_tables(runs: Runs) -> list[Table]:
    """COLUMNS of masks and of boxes."""
    return _tables(runs, COLUMNS)


def speed_tables(runs: Runs) -> list[Table]:
    """AP of SPEEDS, of masks and of boxes; empty where there is none."""
    return [table for table in _tables(runs, [f"AP-{s}" for s in SPEEDS]) if _has_values(table)]


def track_table(runs: Runs) -> list[Table]:
    """The columns of TRACKS; empty where there are no metrics of tracks."""
    values = [
        [(_results(run).get(task) or {}).get(c) for task, names in TRACKS.items() for c in names]
        for run in runs.values()
    ]
    rows = _rows(runs, values)
    table = Table("Tracks", rows, _changes(rows))
    return [table] if _has_values(table) else []


def _tables(runs: Runs, columns: Sequence[str]) -> list[Table]:
    tables = []
    for task, title in TASKS.items():
        metrics = [_results(run).get(task) for run in runs.values()]
        if any(metrics):
            rows = _rows(runs, [[(f or {}).get(column) for column in columns] for f in metrics])
            tables.append(Table(title, rows, _changes(rows)))
    return tables


def _has_values(table: Table) -> bool:
    return any(value is not None for row in table.rows for value in row.values)


def stability_pairs(runs: Runs) -> int | None:
    """The number of pairs that the temporal stability is a mean over; None where it is not said."""
    metrics = [_results(run).get(STABILITY) or {} for run in runs.values()]
    return next((f["pairs"] for f in metrics if f.get("pairs")), None)


def stability(runs: Runs) -> list[Row]:
    """The temporal stability of each run and of the ground truth; empty if there is none."""
    return _stability(runs, [_results(run) for run in runs.values()])


def sequences(runs: Runs) -> list[VideoMetrics]:
    """The metrics of every video, those first on which the run gains most."""
    first, *others = (run.evaluation.sequences for run in runs.values())
    found = []
    for name, metrics in first.items():
        of_runs = [metrics, *(other.get(name, {}) for other in others)]
        bars = _rows(runs, [[(f.get("segm") or {}).get("AP")] for f in of_runs])
        found.append(
            VideoMetrics(
                name,
                metrics["frames"],
                metrics["instances"],
                bars,
                next(iter(_changes(bars)), None),
                _stability(runs, of_runs),
            )
        )
    return sorted(found, key=_rank, reverse=True)


def ignored(runs: Runs) -> list[tuple[str, int, int]]:
    """Name of the run, its masks and its boxes that lie on do-not-care regions, if any do."""
    counts = []
    for name, run in runs.items():
        tasks = [_results(run).get(task) or {} for task in TASKS]
        masks, boxes = (int(task.get("ignored") or 0) for task in tasks)
        counts.append((name, masks, boxes))
    return counts if any(masks or boxes for _, masks, boxes in counts) else []


def differing_settings(runs: Runs) -> list[tuple[str, list[Any]]]:
    """The keys of the configs that differ, with the values of each; the output folders left out."""
    settings = [run.settings for run in runs.values()]
    if not all(settings):
        return []
    keys = sorted({key for values in settings for key in values} - {"OUTPUT_DIR"})
    rows = [(key, [values.get(key, "") for values in settings]) for key in keys]
    return [(key, values) for key, values in rows if any(v != values[0] for v in values)]


def _rank(video: VideoMetrics) -> float:
    value = video.change if len(video.bars) > 1 else video.bars[0].values[0]
    return float("-inf") if value is None else value


def _results(run: EvaluatedModel) -> dict[str, Any]:
    return run.evaluation.results


def _rows(runs: Runs, values: Sequence[list[Metric]]) -> list[Row]:
    return [Row(*row) for row in zip(runs, KINDS, values, strict=False)]


def _changes(rows: Sequence[Row]) -> list[Metric]:
    """The differences of the first row from the second."""
    if len(rows) < 2:
        return []
    pairs = zip(rows[0].values, rows[1].values, strict=True)
    return [None if a is None or b is None else a - b for a, b in pairs]


def _predicted(metrics: Mapping[str, Any]) -> Metric:
    return metrics.get(STABILITY, {}).get("predictions")


def _stability(runs: Runs, metrics: Sequence[Mapping[str, Any]]) -> list[Row]:
    rows = _rows(runs, [[_predicted(of_run)] for of_run in metrics])
    truth = next((f[STABILITY].get("ground_truth") for f in metrics if f.get(STABILITY)), None)
    rows.append(Row("Ground truth", "truth", [truth]))
    return rows if any(row.values[0] is not None for row in rows) else []
