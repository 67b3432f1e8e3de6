"""Trains one recipe by 1, 2 and 4 processes and compares losses, weights and speed with one process.

    python benches/cluster/equal.py PROGRAM WORK [--larger] [MPIRUN ...]

PROGRAM is a `multimae` with the feature `mpi`; WORK a folder for runs; the rest starts processes, as
in `mpirun --bind-to none` (by default `mpirun`). The recipe has 200 steps of a very small model;
with --larger, 10 steps of one with 8.5 million values, for the speed.
"""

import subprocess
import sys
from pathlib import Path

from common import LARGER, command, compare, environment, fresh, prepare, rates


def main():
    words = sys.argv[1:]
    changes = LARGER if "--larger" in words else ()
    program, work, *launcher = (word for word in words if word != "--larger")
    recipe, data = prepare(program, Path(work))
    reference = None
    print("| processes | threads of each | samples/s | in sums | steps | losses, relative | weights |")
    print("|---|---|---:|---:|---|---|---|")
    for processes, threads in [(1, 2), (1, 1), (2, 1), (4, 1)]:
        out = fresh(Path(work) / f"of-{processes}-{threads}")
        start = [*(launcher or ["mpirun"]), "-np", str(processes)] if processes > 1 else []
        done = subprocess.run(
            start + command(program, recipe, data, out, changes=changes),
            env=environment(threads), capture_output=True, text=True, check=False,
        )
        if done.returncode:
            sys.exit(f"{processes} processes failed:\n{done.stdout}{done.stderr}")
        reference = reference or out
        per_second, share = rates(out)
        steps, of_losses, of_weights = compare(reference, out)
        print(
            f"| {processes} | {threads} | {per_second:.1f} | {share:.0%} | {steps} | {of_losses:.1e} "
            f"| {of_weights:.1e} |", flush=True,
        )


if __name__ == "__main__":
    main()
