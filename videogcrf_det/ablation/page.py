"""A table as a page that opens in a browser."""

from collections.abc import Sequence

from videogcrf_det.ablation.results import Results
from videogcrf_det.ablation.runs import Run
from videogcrf_det.report.page import render_page


def render_table(results: Results, runs: Sequence[Run], command: str) -> str:
    """The page; it shows the plots beside it.

    Args:
        results: the metrics.
        runs: all runs of the table.
        command: what made it.
    """
    table = results.table
    plots = [("table.png", f"{table.plot.heading} of each row")] if table.rows else []
    plots += [("grid.png", "A heat map of the grid")] if table.grid else []
    return render_page(
        "ablation.html",
        title=table.title,
        notes=results.notes(),
        tables=results.tables(),
        plots=plots,
        command=command,
        runs=runs,
    )
