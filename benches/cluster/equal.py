"""Trains one recipe by 1, 2 and 4 processes and compares losses and weights with one process.

    python benches/cluster/equal.py PROGRAM WORK [MPIRUN ...]

PROGRAM is a `multimae` with the feature `mpi`; WORK a folder for runs; the rest starts processes, as
in `mpirun --bind-to none` (by default `mpirun`).
"""

import subprocess
import sys
import time
from pathlib import Path

from common import command, compare, environment, fresh, prepare


def main():
    program, work, launcher = sys.argv[1], Path(sys.argv[2]), sys.argv[3:] or ["mpirun"]
    recipe, data = prepare(program, work)
    reference = None
    print("| processes | threads of each | seconds | steps | losses, relative | weights |")
    print("|---|---|---|---|---|---|")
    for processes, threads in [(1, 2), (1, 1), (2, 1), (4, 1)]:
        out = fresh(work / f"of-{processes}-{threads}")
        start = [*launcher, "-np", str(processes)] if processes > 1 else []
        begin = time.perf_counter()
        done = subprocess.run(
            start + command(program, recipe, data, out),
            env=environment(threads), capture_output=True, text=True, check=False,
        )
        seconds = time.perf_counter() - begin
        if done.returncode:
            sys.exit(f"{processes} processes failed:\n{done.stdout}{done.stderr}")
        reference = reference or out
        steps, of_losses, of_weights = compare(reference, out)
        print(
            f"| {processes} | {threads} | {seconds:.1f} | {steps} | {of_losses:.1e} | {of_weights:.1e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
