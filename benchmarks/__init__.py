"""Timings of the inference, side by side with what else would solve the same systems."""

from benchmarks.run import SUITES, run_benchmark
from benchmarks.suites import Options

__all__ = ["SUITES", "Options", "run_benchmark"]
