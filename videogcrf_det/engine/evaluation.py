"""Evaluation on one data set."""

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import (
    DatasetEvaluator,
    inference_on_dataset,
    print_csv_format,
    verify_results,
)
from detectron2.utils import comm
from torch import nn

from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.cost import measure_cost

logger = logging.getLogger("detectron2.evaluation")


def evaluate(
    model: nn.Module,
    loader: Any,
    evaluator: DatasetEvaluator,
    folder: str,
    further_results: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """The results of a model on a data set, by task; written by the main process.

    Args:
        model: with or without a wrapper for several processes.
        loader: of the data set.
        evaluator: with a method ``write`` it gets all results.
        folder: gets ``cost.json``, what the evaluation took; its name is logged as that of the data
            set.
        further_results: those that the evaluator does not see.
    """
    with measure_cost(getattr(model, "module", model)) as cost, _without_lazy_times():
        results: dict[str, Any] = inference_on_dataset(model, loader, evaluator)
    logger.info(cost.sentence())
    results.update(further_results())
    if comm.is_main_process():
        logger.info(f"Results for {os.path.basename(folder)}:")
        print_csv_format(results)
        cost.write(folder)
        if hasattr(evaluator, "write"):
            evaluator.write(results)
    return results


def verify(cfg: CfgNode, results: dict[str, Any]) -> None:
    """End the process with exit code 1 where results are not TEST.EXPECTED_RESULTS.

    Raises:
        InputError: a metric is expected that there is none of.
    """
    if not cfg.TEST.EXPECTED_RESULTS or not comm.is_main_process():
        return
    for task, metric, *_ in cfg.TEST.EXPECTED_RESULTS:
        if metric not in results.get(task, {}):
            known = ", ".join(f"{name} {key}" for name in results for key in results[name])
            raise InputError(
                f"TEST.EXPECTED_RESULTS names {task} {metric}, which was not measured: there "
                f"are {known}"
            )
    verify_results(cfg, results)


@contextlib.contextmanager
def _without_lazy_times() -> Iterator[None]:
    """Leave out what detectron2 logs of the time that a call of a model takes: here it returns at
    once, and the work is done while its results are read."""

    def keep(record: logging.LogRecord) -> bool:
        return not re.search("pure compute time|Inference done|s / iter", record.getMessage())

    log = logging.getLogger("detectron2.evaluation.evaluator")
    log.addFilter(keep)
    try:
        yield
    finally:
        log.removeFilter(keep)
