"""Importing the package changes nothing in the process."""

import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, threading
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
import multimae
assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
assert "torch" not in sys.modules
if sys.platform == "linux":
    import os
    import numpy
    print(len(os.listdir("/proc/self/task")))
"""
NUMPY_ALONE = "import os, numpy; print(len(os.listdir('/proc/self/task')))"


def output(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted on Linux")
def test_import_starts_no_thread():
    assert output(PROGRAM) == output(NUMPY_ALONE)
