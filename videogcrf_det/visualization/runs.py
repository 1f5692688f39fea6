"""What a training or an evaluation left in its OUTPUT_DIR."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from videogcrf_det.errors import InputError
from videogcrf_det.visualization.curves import read_metrics

RESULTS = "coco_instances_results.json"
EVALUATION = "evaluation.json"


class Run(NamedTuple):
    """A run and its evaluation on one data set."""

    name: str
    folder: Path
    dataset: str
    config: str  # YAML; empty if there is no config.yaml
    metrics: list[dict[str, float]]  # lines of metrics.json; empty if nothing was trained
    results: dict[str, dict[str, float | None]]  # by task and name
    sequences: dict[str, dict[str, Any]]  # by video
    versions: dict[str, str]  # that it was evaluated with
    predictions: Path


def load_run(name: str, folder: str | os.PathLike[str], dataset: str | None = None) -> Run:
    """Read an OUTPUT_DIR.

    Args:
        name: what the run is called on the page.
        folder: has ``inference/<data set>/evaluation.json`` and the detections beside it.
        dataset: by default the only one that the run was evaluated on.

    Raises:
        InputError: a file is missing or is not what it should be.
    """
    folder = Path(folder)
    if dataset is None:
        dataset = _only_dataset(folder)
    inference = folder / "inference" / dataset
    content = _evaluation(inference / EVALUATION)
    if not (inference / RESULTS).is_file():
        raise InputError(f"{inference} has no {RESULTS}: {_advice(folder)}")
    config = folder / "config.yaml"
    metrics = folder / "metrics.json"
    return Run(
        name=name,
        folder=folder,
        dataset=dataset,
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
        metrics=read_metrics(metrics) if metrics.is_file() else [],
        results=content["results"],
        sequences=content["sequences"],
        versions=content.get("versions", {}),
        predictions=inference / RESULTS,
    )


def differing_keys(first: str, second: str) -> list[tuple[str, str, str]]:
    """Keys of two configs, YAML, that differ: (key, value, other value), sorted."""
    one, other = dict(_flatten(yaml.safe_load(first))), dict(_flatten(yaml.safe_load(second)))
    return [
        (key, str(one.get(key, "")), str(other.get(key, "")))
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _flatten(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in (content or {}).items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _only_dataset(folder: Path) -> str:
    names = sorted(path.parent.name for path in folder.glob(f"inference/*/{EVALUATION}"))
    if not names:
        raise InputError(f"{folder} has no inference/<data set>/{EVALUATION}: {_advice(folder)}")
    if len(names) > 1:
        raise InputError(
            f"{folder} was evaluated on several data sets: name one of {', '.join(names)} with "
            "--dataset"
        )
    return names[0]


def _evaluation(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content["results"], dict) and isinstance(content["sequences"], dict):
            return content
        reason = "it has no results by task and sequence"
    except FileNotFoundError:
        reason = "it does not exist"
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise InputError(f"cannot read {path} ({reason}): {_advice(path.parents[2])}")


def _advice(folder: Path) -> str:
    return (
        "evaluate the run, with `python tools/train_net.py --config-file FILE --eval-only "
        f"OUTPUT_DIR {folder} MODEL.WEIGHTS FILE`"
    )
