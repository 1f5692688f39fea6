"""Shared parts of all tools. Importing it ends a tool with one sentence if detectron2 is absent."""

import argparse
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from videogcrf_det.errors import DETECTRON2_HINT, InputError, has_detectron2
from videogcrf_det.files import shipped_folder

if not has_detectron2():
    print(f"error: {DETECTRON2_HINT}", file=sys.stderr)
    sys.exit(2)


def run_tool(main: Callable[[], None]) -> None:
    """Call ``main``; end with exit code 2 and one sentence on bad input, with 130 on Ctrl-C."""
    quieten()
    try:
        main()
    except InputError as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # what reads the output has seen enough: "| head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def tool_parser(description: str | None, epilog: str) -> argparse.ArgumentParser:
    """The parser of a tool's command line; its help has the lines of the epilog as they are."""
    return argparse.ArgumentParser(
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_opts(parser: argparse.ArgumentParser) -> None:
    """Add changes to the config, which take the rest of the command line."""
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config overrides"
    )


def import_projects() -> None:
    """Import what projects/ of a checkout have: they register data sets, models and demos."""
    for package in sorted(shipped_folder("projects").glob("*/video_*/__init__.py")):
        folder = str(package.parents[1])
        if folder not in sys.path:
            sys.path.append(folder)
        importlib.import_module(package.parent.name)


def launch_tool(work: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """Call ``work(args)`` in as many processes as detectron2's arguments ask for.

    Raises:
        InputError: that of the first process to end with one; the others are ended as well.
    """
    from detectron2.engine import launch
    from torch.multiprocessing import ProcessRaisedException

    try:
        launch(
            _worker,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(work, args),
        )
    except ProcessRaisedException as error:
        sentence = _sentence(error)
        if sentence == str(error).strip() or "\n" in sentence:
            raise  # something else went wrong
        raise InputError(sentence) from None


def _worker(work: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    quieten()
    try:
        work(args)
    except InputError as error:
        raise InputError(str(error)) from None  # launch_tool looks for this name
    _leave_together()


def _leave_together() -> None:
    """End the group of processes: one that leaves while others use it can take them down."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def _sentence(error: Exception) -> str:
    """An InputError's sentence, out of the traceback that torch hands on from other processes."""
    return str(error).rpartition("InputError: ")[2].strip()


def quieten() -> None:
    """Leave out what a user of the tools can change nothing about."""
    # detectron2's ways of calling torch and of finding its model zoo
    warnings.filterwarnings("ignore", message="torch.meshgrid|.*torch.jit.script|pkg_resources is")
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
    warnings.showwarning = _one_line(warnings.showwarning)
    # the traceback of bad input, which detectron2's trainer logs before it raises it again
    logging.getLogger("detectron2.engine.train_loop").addFilter(
        lambda record: not (record.exc_info and isinstance(record.exc_info[1], InputError))
    )


def _one_line(show: Callable[..., None]) -> Callable[..., None]:
    """A function that shows our own warnings in one line, with config keys, others as ever."""

    def show_plainly(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        from videogcrf_det.config import as_keys
        from videogcrf_det.gcrf import ConvergenceWarning

        if issubclass(category, ConvergenceWarning):
            print(f"warning: {as_keys(str(message))}", file=sys.stderr)
        else:
            show(message, category, *rest)

    return show_plainly
