"""What every tool shares. Importing it ends a tool with one sentence if detectron2 is absent."""

import sys
from collections.abc import Callable

from videogcrf_det.errors import DETECTRON2_HINT, InputError, has_detectron2

if not has_detectron2():
    print(f"error: {DETECTRON2_HINT}", file=sys.stderr)
    sys.exit(2)


def run_tool(main: Callable[[], None]) -> None:
    """Call ``main``; end with exit code 2 and one sentence on bad input, with 130 on Ctrl-C."""
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
