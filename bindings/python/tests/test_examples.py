"""The example runs as it is."""

import subprocess
import sys
from pathlib import Path

QUICKSTART = Path(__file__).resolve().parents[1] / "examples" / "quickstart.py"


def test_quickstart(rooms, tuned, pretrained):
    arguments = [sys.executable, QUICKSTART, rooms, tuned, pretrained]
    done = subprocess.run([*map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for text in ("depth from", "miou", "(1, 192, 6, 8)", "normal (3, 96, 128)"):
        assert text in done.stdout, done.stdout
