"""The benchmark from end to end."""

import dataclasses
import datetime
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.growth import growth
from benchmarks.on_device import operations, training
from benchmarks.report import write_report
from benchmarks.share import share_of_detectors
from benchmarks.suites import (
    Options,
    against_dense_crf,
    against_libraries,
    conditions,
    feature_level,
    last_layer,
    limit,
    windows,
)
from videogcrf_det.errors import InputError
from videogcrf_det.progress import progress

SUITES = {
    "operations": operations,
    "last_layer": last_layer,
    "feature_level": feature_level,
    "windows": windows,
    "conditions": conditions,
    "libraries": against_libraries,
    "dense_crf": against_dense_crf,
    "growth": growth,
    "limit": limit,
    "share": share_of_detectors,
    "training": training,
}
# What is for GPUs: on a CPU the test suite runs the former, and the latter takes half an hour.
FOR_GPUS = ("operations", "training")


def run_benchmark(
    options: Options, folder: str | Path, command: str, only: Sequence[str] = ()
) -> list[Path]:
    """Measure, and write the report after every suite, named by the kind of device.

    Args:
        options: how to measure.
        folder: where the report goes. Suites of an earlier report there that are not measured now
            stay in it, with the machine and date of their own.
        command: what to say the report was made by.
        only: the suites to measure; if empty, all that are for the device.

    Returns:
        The files written.

    Raises:
        InputError: there is no such suite, the device is not there, or the report there is damaged.
    """
    for name in only:
        if name not in SUITES:
            raise InputError(f"there is no suite {name!r}: use some of {', '.join(SUITES)}")
    device = options.device
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"the device {device} is not available: use --device cpu")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False

    path = Path(folder) / f"{device.type}.json"
    results = _earlier(path)
    paths: list[Path] = []
    usual = [name for name in SUITES if device.type == "cuda" or name not in FOR_GPUS]
    for name in only or usual:
        with progress(desc=f"{name:14}", unit=" runs") as bar:
            suite = SUITES[name](dataclasses.replace(options, on_run=bar.update))
            rows = list(suite)
        results[name] = {"machine": describe(device, command), "rows": rows}
        ordered = {key: results[key] for key in SUITES if key in results}
        paths = write_report(ordered, path.parent, path.stem)
    return paths


def _earlier(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(
            f"the earlier report {path} cannot be read ({error}): remove it, or choose another "
            "folder with --output"
        ) from None


def describe(device: torch.device, command: str) -> dict[str, str]:
    """The circumstances of a measurement."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{torch.get_num_threads()} threads of {_processor()}"
    return {
        "device": name,
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
        "command": command,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
