"""``evaluation.json``, the metrics that an evaluation leaves in its OUTPUT_DIR."""

import contextlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.versions import collect_versions

FILE = "evaluation.json"
COST = "cost.json"  # beside it; see cost.py

Metrics = dict[str, Any]  # numbers, None where undefined, below one key or several


@dataclass
class Evaluation:
    """The measurements of a data set. A metric that is undefined, given as nan, becomes None.

    Attributes:
        dataset: its name.
        results: metrics by task and name.
        sequences: the same of each video, by its name.
        versions: what it was measured with.
    """

    dataset: str
    results: Metrics
    sequences: Metrics = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=collect_versions)

    def __post_init__(self) -> None:
        self.results, self.sequences = _defined(self.results), _defined(self.sequences)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``evaluation.json`` into a folder."""
        with atomic_write(Path(folder, FILE)) as path:
            path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def evaluation_file(output_dir: str | os.PathLike[str], dataset: str) -> Path:
    """The path of the evaluation of a model on a data set, given the model's OUTPUT_DIR."""
    return Path(output_dir, "inference", dataset, FILE)


def read_evaluation(
    path: str | os.PathLike[str], remedy: str = "evaluate again with videogcrf evaluate"
) -> Evaluation:
    """Read an ``evaluation.json``.

    Args:
        path: the file.
        remedy: what to do if that fails.

    Raises:
        InputError: the file is not what an evaluation writes.
    """
    with _explained(path, remedy):
        content = _read(path)
        results, sequences = content["results"], content.get("sequences", {})
        for name, metrics in (*results.items(), *sequences.items()):
            if not isinstance(metrics, dict):
                raise TypeError(f"{name} has {metrics!r:.40} for metrics")
        known = content.get("dataset", ""), results, sequences, content.get("versions", {})
        return Evaluation(*known)


def read_cost(path: str | os.PathLike[str], remedy: str) -> Metrics:
    """Read a ``cost.json``; see read_evaluation."""
    with _explained(path, remedy):
        return _defined(_read(path))


def write_metrics(path: str | os.PathLike[str], metrics: Metrics) -> None:
    """Write metrics as JSON, undefined ones as null."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(_defined(metrics), indent=1), encoding="utf-8")


def only_dataset(folder: Path, results: str) -> str:
    """The only data set that an OUTPUT_DIR has an evaluation's file ``results`` of.

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


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError(f"it holds {content!r:.40}")
    return content


@contextlib.contextmanager
def _explained(path: str | os.PathLike[str], remedy: str) -> Iterator[None]:
    """Raise InputError for what goes wrong in the ``with`` block."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} is not what an evaluation writes ({type(error).__name__}: {error}): {remedy}"
        ) from None


def _defined(metrics: Any) -> Any:
    """Metrics with None for those that are undefined: JSON has no nan.

    Raises:
        TypeError: something else is among them.
    """
    if isinstance(metrics, dict):
        return {name: _defined(value) for name, value in metrics.items()}
    if metrics is None or (isinstance(metrics, int | float) and math.isfinite(metrics)):
        return metrics
    if isinstance(metrics, float):
        return None
    raise TypeError(f"{metrics!r:.40} is no number")
