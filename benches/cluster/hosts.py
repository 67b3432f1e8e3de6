"""The runs of hosts.sh: three hosts against one process, a host that is cut off, several bandwidths."""

import subprocess
import sys
import time
from pathlib import Path

from common import LARGER, command, compare, environment, fresh, prepare

RATES = (100, 300, 1000, 3000, 10000)


class Hosts:
    """Runs over the hosts that a launcher starts processes on."""

    def __init__(self, program, work, launcher):
        self.program, self.work, self.launcher = program, Path(work), launcher
        self.recipe, self.data = prepare(program, self.work)

    def start(self, processes, out, resume=False, words=(), changes=()):
        first = [*self.launcher, "-np", str(processes)] if processes > 1 else []
        run = command(self.program, self.recipe, self.data, out, resume, changes)
        return subprocess.Popen(
            first + run + list(words), env=environment(1),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )

    def finished(self, processes, out, **how):
        begin = time.perf_counter()
        job = self.start(processes, out, **how)
        text, _ = job.communicate()
        if job.returncode:
            sys.exit(f"{processes} processes failed:\n{text}")
        return time.perf_counter() - begin


def self_name(hosts):
    return Path(hosts.program).name


def failures(hosts):
    """Three hosts against one process; then the third is cut off, and two go on."""
    one, three, cut = (fresh(hosts.work / name) for name in ("one", "three", "cut"))
    print(f"1 process: {hosts.finished(1, one):.1f} s", flush=True)
    for processes, out in ((3, three), (4, fresh(hosts.work / "four"))):
        seconds = hosts.finished(processes, out)
        steps, of_losses, of_weights = compare(one, out)
        print(
            f"{processes} processes on 3 hosts: {seconds:.1f} s; {steps} steps: losses {of_losses:.1e}, "
            f"weights {of_weights:.1e}", flush=True,
        )
    job = hosts.start(4, cut)
    # Some checkpoints, then the cable of the third host is pulled.
    while not list((cut / "checkpoints").glob("*")):
        time.sleep(0.1)
        if job.poll() is not None:
            sys.exit(f"the run ended before it could be cut:\n{job.communicate()[0]}")
    subprocess.run(["ip", "link", "set", "mm3", "down"], check=True)
    begin = time.perf_counter()
    said = ended = ""
    for line in job.stdout:
        ended += line
        if "no answer" in line:
            said = line.strip()
            break
    print(f"cut off: named after {time.perf_counter() - begin:.1f} s: {said or ended[-600:]}", flush=True)
    # The launcher waits for the host that it cannot reach; the processes of the other hosts have ended.
    try:
        job.wait(timeout=20)
        print(f"the launcher ended after {time.perf_counter() - begin:.1f} s")
    except subprocess.TimeoutExpired:
        left = subprocess.run(["pgrep", "-fc", f"{self_name(hosts)} pretrain"], capture_output=True, text=True, check=False)
        print(f"the launcher still waits for the host; processes that are left: {left.stdout.strip()}", flush=True)
        job.kill()
    seconds = hosts.finished(2, cut, resume=True)
    steps, of_losses, of_weights = compare(one, cut)
    print(f"resumed on 2: {seconds:.1f} s; losses {of_losses:.1e}, weights {of_weights:.1e}")


def bandwidths(hosts):
    """Two hosts at several bandwidths, with gradients of 32 and of 16 bits."""
    for form in ("f32", "bf16"):
        for rate in RATES:
            shape = ["root", "handle", "1:", "tbf", "rate", f"{rate}mbit", "burst", "1mb", "latency", "50ms"]
            for host in (1, 2):
                subprocess.run(["tc", "qdisc", "replace", "dev", f"mm{host}", *shape], check=True)
                inside = ["ip", "netns", "exec", f"multimae{host}", "tc", "qdisc", "replace", "dev", "eth0"]
                subprocess.run([*inside, *shape], check=True)
            out = fresh(hosts.work / "bandwidths" / f"{rate}-{form}")
            seconds = hosts.finished(2, out, words=("--gradients", form), changes=LARGER)
            print(f"{rate} Mbit/s, {form}: {seconds:.1f} s", flush=True)


def main():
    kind, program, work, *launcher = sys.argv[1:]
    {"failures": failures, "bandwidths": bandwidths}[kind](Hosts(program, work, launcher))


if __name__ == "__main__":
    main()
