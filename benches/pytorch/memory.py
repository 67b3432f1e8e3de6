"""The memory of a worker."""

import resource
import sys
from pathlib import Path


def peak_memory():
    """In bytes, of this program alone. `ru_maxrss` is not, on Linux: it begins at the peak of the program's parent."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else []:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
