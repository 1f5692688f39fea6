"""Install detectron2 for the running interpreter, unless one can be imported already.

detectron2 has no release on PyPI. Where its repository can be reached, installing it from source is
the usual way (docs/install.md). This script needs a package registry alone: it takes a wheel that
holds the complete Python package. Only its compiled extension is for another Python version, and
nothing here uses that: torchvision and pycocotools have the operators that are needed.
"""

import argparse
import importlib.util
import subprocess
import sys
import sysconfig

WHEEL = "sal-detectron2==0.7.2"


def main() -> None:
    """Leave an importable detectron2 alone; otherwise unpack the wheel into site-packages."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    if importlib.util.find_spec("detectron2") is not None:
        print("detectron2 is already installed: left as it is")
        return
    # fmt: off
    command = [
        sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary=:all:",
        "--python-version", "3.10", "--implementation", "cp", "--abi", "none", "--platform", "any",
        "--target", sysconfig.get_path("purelib"), WHEEL,
    ]
    # fmt: on
    sys.exit(subprocess.run(command).returncode)


if __name__ == "__main__":
    main()
