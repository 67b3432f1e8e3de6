"""The training time of runs to the same evaluation loss.

    python3 benches/time_to_loss.py RUN [RUN ...] [--task TASK] [--loss LOSS]

The first run is the reference. Its last evaluation loss is the target, or LOSS. Prints, for each run, the first
evaluation at or below the target and its training time, without the time of evaluation itself. TASK compares the loss of
one task, as in `rgb`; without it, the sum over the tasks. Evaluate often (`eval_freq: 1`): the time is known at
evaluations alone. Needs Python 3.9 or later, without packages.
"""

import argparse
import json
import sys
from pathlib import Path


def evaluations(run, key):
    """The evaluations of a run in order: epochs, steps, seconds of training and loss."""
    found = []
    with open(Path(run) / "metrics.jsonl", encoding="utf-8") as file:
        for record in map(json.loads, file):
            if record["kind"] != "eval":
                continue
            if key not in record or "training_seconds" not in record:
                sys.exit(f"{run}: an evaluation without `{key}` and `training_seconds`")
            loss = float("inf") if record[key] is None else record[key]
            found.append((record["epoch"] + 1, record["step"] + 1, record["training_seconds"], loss))
    if not found:
        sys.exit(f"{run}: no evaluation in metrics.jsonl; set `eval_split` in the recipe")
    return found


def first_below(measured, target):
    """The first evaluation at or below the target, if there is one."""
    return next((entry for entry in measured if entry[-1] <= target), None)


def row(run, measured, target, reference):
    """The cells of a run; `reference` is the first evaluation of the reference at the target."""
    best = f"{min(loss for *_, loss in measured):.4f}"
    reached = first_below(measured, target)
    if reached is None:
        return [run, "not reached", "", "", "", best]
    epoch, step, seconds, _ = reached
    share = f"{seconds / reference[2]:.2f}" if reference else ""
    return [run, f"{seconds:.1f}", share, str(epoch), str(step), best]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run; the first is the reference")
    parser.add_argument("--task", help="compare the loss of one task")
    parser.add_argument("--loss", type=float, help="target in place of the reference's last loss")
    arguments = parser.parse_args()
    key = f"{arguments.task}_loss" if arguments.task else "loss"
    measured = [(run, evaluations(run, key)) for run in arguments.runs]
    target = measured[0][1][-1][-1] if arguments.loss is None else arguments.loss
    reference = first_below(measured[0][1], target)
    print(f"evaluation `{key}` of at most {target:.4f}\n")
    print("| run | seconds | of the reference | epoch | step | lowest loss |")
    print("|---|---:|---:|---:|---:|---:|")
    for run, entries in measured:
        print("| " + " | ".join(row(run, entries, target, reference)) + " |")


if __name__ == "__main__":
    main()
