"""Train and evaluate the rows of a table, and write the table from the result files."""

import argparse

from videogcrf_det.cli import run_tool, tool_parser

EPILOG = """
    videogcrf ablation tables/davis_person_R_50_C4.yaml
    videogcrf ablation FILE --dry-run
    videogcrf ablation FILE --rows spatial "2 frames"
    videogcrf ablation FILE --output output/trial --opts SOLVER.MAX_ITER 10

The same command again goes on where it was interrupted. docs/ablation.md says how to write a table.
"""


def main() -> None:
    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("table", metavar="FILE", help="the table, in YAML")
    parser.add_argument("--output", metavar="DIR", help="default: what the file says")
    parser.add_argument(
        "--rows", nargs="+", default=[], metavar="ROW", help="train these; default: all"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--redo", nargs="+", default=[], metavar="ROW", help="remove these and make them again"
    )
    mode.add_argument(
        "--dry-run",
        "--list",
        action="store_true",
        help="say what is done and show the commands, no more",
    )
    mode.add_argument(
        "--table-only", action="store_true", help="train nothing, write the table of what is done"
    )
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config overrides for all rows",
    )
    args = parser.parse_args()

    from videogcrf_det.ablation import run_ablation

    run_ablation(
        args.table,
        output=args.output,
        rows=args.rows,
        redo=args.redo,
        opts=args.opts,
        dry_run=args.dry_run,
        table_only=args.table_only,
    )


if __name__ == "__main__":
    run_tool(main)
