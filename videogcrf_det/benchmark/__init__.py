"""Timings of the inference, side by side with what else would solve the same systems."""

from videogcrf_det.benchmark.run import SUITES, run_benchmark
from videogcrf_det.benchmark.suites import Options

__all__ = ["SUITES", "Options", "run_benchmark"]
