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
import tempfile
from pathlib import Path

# the file that was looked through and tested: pip refuses another one of that name
WHEEL = "sal-detectron2==0.7.2"
SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"


def main() -> None:
    """Leave an importable detectron2 alone; otherwise unpack the wheel into site-packages."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    if importlib.util.find_spec("detectron2") is not None:
        print("detectron2 is already installed: left as it is")
        return
    sys.exit(install(sysconfig.get_path("purelib")))


def install(target: str) -> int:
    """Unpack the wheel into a folder; the exit code of pip, which names a file that is another."""
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder, "detectron2.txt")
        pinned.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n", encoding="utf-8")
        # fmt: off
        command = [
            sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary=:all:",
            "--python-version", "3.10", "--implementation", "cp", "--abi", "none",
            "--platform", "any", "--target", target, "--require-hashes", "-r", str(pinned),
        ]
        # fmt: on
        return subprocess.run(command).returncode


if __name__ == "__main__":
    main()
