"""Files and folders that are either whole or absent, and those that are shipped."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from videogcrf_det.errors import InputError


def shipped_folder(name: str) -> Path:
    """A folder that a wheel has inside the package, and a checkout beside it."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; rename it onto ``path`` at the end.

    The temporary name keeps the suffix, since writers of images and videos choose a format by it.
    On an error nothing is left behind and a previous ``path`` stays as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; give them the permissions that open() would have
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` to write to; rename it to ``path`` at the end.

    On an error nothing is left behind.

    Raises:
        InputError: ``path`` exists and is no empty folder.
    """
    target = Path(path)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(
            f"{target} is there already: frames go to a new or an empty folder, name another"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
    try:
        yield temporary
        target.mkdir(exist_ok=True)
        temporary.chmod(target.stat().st_mode)  # mkdtemp makes folders private
        target.rmdir()  # Windows has a folder replace none, not even an empty one
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
