"""The most memory that this process has held."""

import contextlib
import sys
from pathlib import Path


def forget_peak_memory() -> bool:
    """Have ``peak_memory`` count from now on; False where the system does not let us: all but
    Linux, and there sandboxes whose /proc cannot be written to."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory() -> int | None:
    """Bytes, what is held now included; None where they cannot be told: Windows."""
    with contextlib.suppress(OSError):
        # the portable number starts with that of the process that started this one
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
