"""The page about an evaluated model, and what pages share."""

from videogcrf_det.report.write import Step, write_report

__all__ = ["Step", "write_report"]
