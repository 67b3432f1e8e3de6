"""Kills random processes of a run again and again, resumes it, and compares the end bit for bit.

    python benches/cluster/kills.py PROGRAM WORK KILLS [MPIRUN ...]

The run has two processes, or as many as the launcher's own arguments say. Each kill is SIGKILL to one
process, at a random time after its start; the job must end by itself within seconds, and `--resume`
goes on from the newest checkpoint. At the end, the weights must be those of a run that nobody killed.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from common import command, compare, environment, fresh, prepare

PROCESSES = 2
# Long enough that the run does not end before the last kill.
CHANGES = ("epochs=220",)


def children(pid):
    """All descendants of a process, children first."""
    try:
        own = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [int(child) for child in own] + [d for child in own for d in children(child)]


def ranks(pid, program):
    """The processes of the job that run the program."""
    name = Path(program).name.encode()
    found = []
    for child in children(pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except FileNotFoundError:
            continue
        if words and Path(words[0].decode()).name.encode() == name:
            found.append(child)
    return found


def main():
    program, work, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    launcher = [*(sys.argv[4:] or ["mpirun"]), "-np", str(PROCESSES)]
    recipe, data = prepare(program, work)
    dice = random.Random(23)

    def start(out, resume):
        return subprocess.Popen(
            launcher + command(program, recipe, data, out, resume, CHANGES),
            env=environment(1), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    whole = fresh(work / "whole")
    begin = time.perf_counter()
    if start(whole, resume=False).wait():
        sys.exit("the run without kills failed")
    duration = time.perf_counter() - begin
    print(f"without kills: {duration:.1f} s", flush=True)
    out, killed, longest = fresh(work / "killed"), 0, 0.0
    while True:
        holds_run = (out / "recipe.yaml").exists()
        job = start(out, resume=holds_run)
        if killed < kills:
            # A second for the start, then about a share of the run.
            time.sleep(1.0 + dice.uniform(0.0, 0.8 * duration / kills))
            victims = ranks(job.pid, program)
            if victims and job.poll() is None:
                victim = dice.randrange(len(victims))
                os.kill(victims[victim], signal.SIGKILL)
                begin = time.perf_counter()
                try:
                    job.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    sys.exit(f"kill {killed + 1}: the job did not end within 60 s")
                longest = max(longest, time.perf_counter() - begin)
                killed += 1
                newest = max((p.name for p in (out / "checkpoints").glob("*")), default="none")
                print(f"kill {killed}: one of {len(victims)}; newest checkpoint {newest}", flush=True)
                continue
        if job.wait():
            sys.exit("a part that nobody killed failed")
        break
    steps, of_losses, of_weights = compare(whole, out)
    print(f"{killed} kills, each ended the job within {longest:.2f} s")
    print(f"{steps} steps: losses differ by {of_losses:.1e}, weights by {of_weights:.1e}")
    sys.exit(of_losses != 0 or of_weights != 0)


if __name__ == "__main__":
    main()
