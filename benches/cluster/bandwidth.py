"""The share of a step in which gradients are summed, over bandwidths, drawn as a picture.

    python benches/cluster/bandwidth.py DIR OUT.png

DIR holds a folder per run, named after its bandwidth in Mbit/s and the form of the gradients, as in
1000-f32, as `hosts.sh PROGRAM WORK bandwidths` writes them into WORK/bandwidths. Needs Matplotlib; without it, the table alone is printed.
"""

import sys
from pathlib import Path

from common import STEP_SAMPLES, rates


def main():
    folder, picture = Path(sys.argv[1]), Path(sys.argv[2])
    points = {}
    for run in folder.iterdir():
        rate, form = run.name.split("-")
        per_second, share = rates(run)
        points.setdefault(form, []).append((int(rate), share, STEP_SAMPLES / per_second))
    print("| gradients | Mbit/s | share of a step | step, ms |\n|---|---:|---:|---:|")
    for form, rows in sorted(points.items()):
        for rate, part, seconds in sorted(rows):
            print(f"| {form} | {rate} | {100 * part:.0f} % | {1000 * seconds:.0f} |")
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print("bandwidth.py: SKIPPED the picture: Matplotlib is missing", file=sys.stderr)
        return
    figure, axes = plt.subplots(figsize=(7, 4))
    for form, rows in sorted(points.items()):
        rows.sort()
        axes.plot([r[0] for r in rows], [100 * r[1] for r in rows], "o-", label=f"gradients in {form}")
    axes.set(xscale="log", xlabel="bandwidth of a host, Mbit/s", ylabel="share of a step, %", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
