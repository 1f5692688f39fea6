"""What every tool shares. Importing it ends a tool with one sentence if detectron2 is absent."""

import argparse
import sys
import warnings
from collections.abc import Callable

from videogcrf_det.errors import DETECTRON2_HINT, InputError, has_detectron2

if not has_detectron2():
    print(f"error: {DETECTRON2_HINT}", file=sys.stderr)
    sys.exit(2)


def run_tool(main: Callable[[], None]) -> None:
    """Call ``main``; end with exit code 2 and one sentence on bad input, with 130 on Ctrl-C."""
    # detectron2's way of calling torch, of which a user of the tool can change nothing
    warnings.filterwarnings("ignore", message="torch.meshgrid|.*torch.jit.script")
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def launch_tool(work: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """Call ``work(args)`` in as many processes as detectron2's arguments ask for.

    Bad input ends every process with exit code 2, and so this one.
    """
    from detectron2.engine import launch
    from torch.multiprocessing import ProcessExitedException

    try:
        launch(
            _worker,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(work, args),
        )
    except ProcessExitedException as error:
        sys.exit(error.exit_code)


def _worker(work: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    run_tool(lambda: work(args))
