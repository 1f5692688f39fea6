"""Measure the inference: its solvers against each other, other libraries, and its own limit.

The report is written after every suite, so that an interruption costs no more than one.
"""

import shlex
import sys

from videogcrf_det.cli import run_tool, tool_parser

EPILOG = """
    python -m benchmarks                  all of it, on the CPU
    python -m benchmarks --device cuda    on a GPU; tests of the operations and 50 iterations
                                          of training as well
    python -m benchmarks --only limit growth
"""


def main() -> None:
    import torch

    from benchmarks import SUITES, Options, run_benchmark

    parser = tool_parser(__doc__, EPILOG)
    parser.prog = "python -m benchmarks"
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), metavar="NAME")
    parser.add_argument(
        "--output", default="docs/benchmarks", metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument(
        "--repeats", type=int, default=7, metavar="N", help="runs of each; default: %(default)s"
    )
    parser.add_argument(
        "--shrink", type=int, default=1, metavar="K", help="divide sizes by K: a quick look"
    )
    args = parser.parse_args()
    options = Options(device=args.device, repeats=args.repeats, shrink=args.shrink)
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    for path in run_benchmark(options, args.output, command, args.only):
        print(path)


if __name__ == "__main__":
    run_tool(main)
