"""The runs of hosts.sh: three hosts against one process, and a host that is cut off."""

import subprocess
import sys
import time
from pathlib import Path

from common import command, compare, environment, fresh, prepare


def main():
    program, work, launcher = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    recipe, data = prepare(program, work)

    def start(processes, out, resume=False):
        first = [*launcher, "-np", str(processes)] if processes > 1 else []
        return subprocess.Popen(
            first + command(program, recipe, data, out, resume), env=environment(1),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )

    def finished(processes, out, resume=False):
        begin = time.perf_counter()
        job = start(processes, out, resume)
        text, _ = job.communicate()
        if job.returncode:
            sys.exit(f"{processes} processes failed:\n{text}")
        return time.perf_counter() - begin

    one = fresh(work / "one")
    seconds = finished(1, one)
    print(f"1 process: {seconds:.1f} s", flush=True)
    three = fresh(work / "three")
    seconds = finished(3, three)
    steps, of_losses, of_weights = compare(one, three)
    print(f"3 hosts: {seconds:.1f} s; {steps} steps: losses {of_losses:.1e}, weights {of_weights:.1e}")
    cut = fresh(work / "cut")
    job = start(3, cut)
    # Some checkpoints, then the cable of the third host is pulled.
    while not list((cut / "checkpoints").glob("*")):
        time.sleep(0.1)
        if job.poll() is not None:
            sys.exit(f"the run ended before it could be cut:\n{job.communicate()[0]}")
    subprocess.run(["ip", "link", "set", "mm3", "down"], check=True)
    begin = time.perf_counter()
    try:
        text, _ = job.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        job.kill()
        sys.exit("the job went on for 180 s without its third host")
    said = next((line for line in text.splitlines() if "no answer" in line), text[-400:])
    print(f"cut off: the job ended after {time.perf_counter() - begin:.1f} s and said: {said}")
    seconds = finished(2, cut, resume=True)
    steps, of_losses, of_weights = compare(one, cut)
    print(f"resumed on 2: {seconds:.1f} s; losses {of_losses:.1e}, weights {of_weights:.1e}")


if __name__ == "__main__":
    main()
