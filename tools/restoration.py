"""Say what trained random fields do to features: what they restore, how strongly they couple."""

import argparse

from videogcrf_det.cli import run_tool, tool_parser

EPILOG = """
    videogcrf restoration --config-file DAVIS-Person/video_gcrf_R_50_FPN_4f \\
        --weights model_final.pth

Clips of the first data set of DATASETS.TEST are spoilt as in videogcrf fit. docs/evaluation.md says
how to read the table.
"""


def main() -> None:
    from videogcrf_det.evaluation.restoration import measure_restoration, restoration_table
    from videogcrf_det.steady.detector import load_detector

    parser = tool_parser(__doc__, EPILOG)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--weights", default="", metavar="FILE", help="default: the config's")
    parser.add_argument(
        "--clips", type=int, default=24, metavar="N", help="at most; default: %(default)s"
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, default=[], help="config overrides, KEY VALUE, at the end"
    )
    args = parser.parse_args()
    detector = load_detector(args.config_file, args.weights, args.opts)
    print(restoration_table(measure_restoration(detector, args.clips)))


if __name__ == "__main__":
    run_tool(main)
