"""The files that a training or an evaluation left in its OUTPUT_DIR."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.record import (
    Evaluation,
    evaluation_file,
    only_dataset,
    read_evaluation,
)

RESULTS = "coco_instances_results.json"


@dataclass(frozen=True)
class EvaluatedModel:
    """A model that was evaluated on a data set.

    Attributes:
        folder: its OUTPUT_DIR.
        dataset: the name of the data set.
        predictions: the COCO results file.
        evaluation: its metrics; empty where there are none.
        metrics: the lines of ``metrics.json``; empty where nothing was trained.
        config: the text of ``config.yaml``; empty where there is none.
    """

    folder: Path
    dataset: str
    predictions: Path
    evaluation: Evaluation
    metrics: list[dict[str, float]]
    config: str

    @property
    def settings(self) -> dict[str, Any]:
        """The config's values by their full names, such as ``MODEL.MASK_ON``."""
        return dict(_flatten(_load_yaml(self.config)))


def read_model(folder: str | os.PathLike[str], dataset: str | None = None) -> EvaluatedModel:
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
        dataset = only_dataset(folder, RESULTS)
    inference = folder / "inference" / dataset
    if not (inference / RESULTS).is_file():
        raise InputError(
            f"{inference / RESULTS} does not exist: evaluate the model on {dataset} with "
            "videogcrf evaluate, or name another data set with --dataset"
        )
    record = evaluation_file(folder, dataset)
    log, config = folder / "metrics.json", folder / "config.yaml"
    return EvaluatedModel(
        folder=folder,
        dataset=dataset,
        predictions=inference / RESULTS,
        evaluation=(
            read_evaluation(record) if record.is_file() else Evaluation(dataset, {}, versions={})
        ),
        metrics=read_metrics(log) if log.is_file() else [],
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
    )


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """The lines of a ``metrics.json``, by ascending iteration.

    Training again into the same folder appends to the file; the later run counts.

    Raises:
        InputError: the file is missing or has a line that is not a JSON object.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(
            f"the training log {path} cannot be read ({error.strerror}): train first, or name "
            "another file"
        ) from None
    rows: list[dict[str, float]] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            iteration = row["iteration"]
        except (ValueError, TypeError, KeyError):
            raise InputError(
                f"line {number} of the training log {path} is not a JSON object with an "
                "iteration: remove the line"
            ) from None
        while rows and rows[-1]["iteration"] >= iteration:
            rows.pop()
        rows.append(row)
    return rows


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
