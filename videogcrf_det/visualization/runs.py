"""What a training or an evaluation left in its OUTPUT_DIR."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from videogcrf_det.errors import InputError
from videogcrf_det.visualization.curves import read_metrics

RESULTS = "coco_instances_results.json"
TASKS = ("segm", "bbox", "temporal_stability", "ytvis", "tracking")


@dataclass(frozen=True)
class Run:
    """A model that was evaluated on a data set.

    Attributes:
        folder: its OUTPUT_DIR.
        dataset: the name of the data set.
        predictions: the COCO results file.
        evaluation: what ``evaluation.json`` holds (docs/evaluation.md); empty where there is none.
        metrics: the lines of ``metrics.json``; empty where nothing was trained.
        config: the text of ``config.yaml``; empty where there is none.
    """

    folder: Path
    dataset: str
    predictions: Path
    evaluation: dict[str, Any]
    metrics: list[dict[str, float]]
    config: str

    @property
    def settings(self) -> dict[str, Any]:
        """The config's values by their full names, ``MODEL.MASK_ON`` for one."""
        return dict(_flatten(_load_yaml(self.config)))


def read_run(folder: str | os.PathLike[str], dataset: str | None = None) -> Run:
    """Read what an OUTPUT_DIR holds of a model and of its evaluation on a data set.

    Args:
        folder: the OUTPUT_DIR.
        dataset: the data set, by default the only one that it was evaluated on.

    Raises:
        InputError: there are no detections of the data set, or a file is not what it should be.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder: name the OUTPUT_DIR of a training or of an evaluation"
        )
    if dataset is None:
        dataset = only_dataset(folder)
    inference = folder / "inference" / dataset
    if not (inference / RESULTS).is_file():
        raise InputError(
            f"{inference / RESULTS} does not exist: evaluate the model on {dataset} with "
            "videogcrf evaluate, or name another data set with --dataset"
        )
    log, config = folder / "metrics.json", folder / "config.yaml"
    return Run(
        folder=folder,
        dataset=dataset,
        predictions=inference / RESULTS,
        evaluation=_read_evaluation(inference / "evaluation.json"),
        metrics=read_metrics(log) if log.is_file() else [],
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
    )


def only_dataset(folder: Path, results: str = RESULTS) -> str:
    """The only data set that an OUTPUT_DIR has an evaluation's file of results of.

    Raises:
        InputError: there are none or several.
    """
    names = sorted(path.parent.name for path in folder.glob(f"inference/*/{results}"))
    if not names:
        raise InputError(
            f"{folder} has no inference/<data set>/{results}: name the OUTPUT_DIR of a model, and "
            "evaluate it with videogcrf evaluate"
        )
    if len(names) > 1:
        raise InputError(
            f"{folder} was evaluated on several data sets: name one of {', '.join(names)} with "
            "--dataset"
        )
    return names[0]


def _load_yaml(text: str) -> dict[str, Any]:
    """A config's values; none if it has Python objects, as LazyConfig's may."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def _flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read_evaluation(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        # JSON has no nan, but Python writes it
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
        for tasks in (content["results"], *content["sequences"].values()):
            # a task or a figure may be missing, but each is what it says
            for figures in (tasks.get(task, {}) for task in TASKS):
                if any(not isinstance(v, float | int | None) for v in figures.values()):
                    raise TypeError(f"{figures} is not all numbers")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not what an evaluation writes ({type(error).__name__}: {error}): evaluate "
            "again with videogcrf evaluate"
        ) from None
    return content
