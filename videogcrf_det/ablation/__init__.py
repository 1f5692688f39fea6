"""Tables of trainings: a file that says what to train, and what that comes to."""

from videogcrf_det.ablation.run import run_ablation
from videogcrf_det.ablation.runs import Run, plan_runs
from videogcrf_det.ablation.table_file import Column, Grid, Row, Table, load_table

__all__ = ["Column", "Grid", "Row", "Run", "Table", "load_table", "plan_runs", "run_ablation"]
