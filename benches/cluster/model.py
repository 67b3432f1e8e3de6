"""The cost model of docs/scaling.md: what a step costs on several hosts, and what limits it.

    python benches/cluster/model.py

Every constant is a measurement named in docs/scaling.md, or an assumption that says so here.
"""

# Measured: docs/performance.md, AVX-512 table, pretrain-base: 8 samples in 3.109 s at 74 % of 235 GFLOP/s
# on two cores.
FLOPS_PER_SAMPLE = 0.74 * 235e9 * 3.109 / 8
CORE = 0.74 * 235e9 / 2
# Measured there: 32 samples loaded in 0.472 s from files and in 0.170 s from a pack, by two threads.
LOAD_FILES, LOAD_PACK = 0.472 * 2 / 32, 0.170 * 2 / 32
# Measured: benches/cluster, two hosts, 34.0 MB of gradients. Seconds per byte that travels, besides the wire,
# and the overhead of packets on the wire.
OVERHEAD, FRAMING = 1.1e-9, 1.03
# Trained values of ViT-Base with four decoders of width 256 and depth 2, counted from the layers.
GRADIENTS = 4 * 98e6
SAMPLES, EPOCHS, BATCH = 1.28e6, 400, 2048


def communication(hosts, bandwidth, width=4, overhead=OVERHEAD):
    """Seconds in which the gradients of a step are summed; bandwidth in bytes per second."""
    travels = 2 * GRADIENTS * width / 4 * (hosts - 1) / hosts
    return travels * (FRAMING / bandwidth + overhead)


def fit():
    print("| Mbit/s | gradients | measured, ms | model, ms |\n|---:|---|---:|---:|")
    measured = {
        "f32": {100: 2834, 300: 959, 1000: 299, 3000: 122, 10000: 68},
        "bf16": {100: 1352, 300: 464, 1000: 154, 3000: 86, 10000: 66},
    }
    for form, rows in measured.items():
        travels = 8_496_832 * (4 if form == "f32" else 2)
        for rate, milliseconds in rows.items():
            predicted = travels * (FRAMING / (rate * 1e6 / 8) + OVERHEAD)
            print(f"| {rate} | {form} | {milliseconds} | {1e3 * predicted:.0f} |")


def line(name, compute, shared, overlap=False):
    step = max(compute, shared) if overlap else compute + shared
    days = SAMPLES * EPOCHS / BATCH * step / 86400
    print(
        f"| {name} | {compute:.3f} | {shared:.3f} | {step:.3f} | {compute / step:.0%} | {BATCH / step:,.0f} "
        f"| {days:.1f} |"
    )


def cluster():
    print("\n| | compute, s | sum, s | step, s | efficiency | samples/s | 400 epochs, days |\n|---|---:|---:|---:|---:|---:|---:|")
    cores = 64
    for hosts in (1, 8, 64):
        compute = BATCH * FLOPS_PER_SAMPLE / (hosts * cores * CORE)
        for gigabits in (10, 25, 100):
            if hosts == 1 and gigabits > 10:
                continue
            shared = communication(hosts, gigabits * 1e9 / 8) if hosts > 1 else 0.0
            line(f"{hosts} hosts, {gigabits} Gbit/s" if hosts > 1 else "1 host", compute, shared)
    compute = BATCH * FLOPS_PER_SAMPLE / (64 * cores * CORE)
    line("64 hosts, 25 Gbit/s, bf16 gradients", compute, communication(64, 25e9 / 8, width=2))
    # Not built: four threads that communicate, beside the backward pass.
    future = communication(64, 25e9 / 8, width=2, overhead=OVERHEAD / 4)
    line("the same, four communicating threads, overlapped", compute, future, overlap=True)
    rate = cores * CORE / FLOPS_PER_SAMPLE
    print(f"\na host: {rate:.0f} samples/s; loading takes {rate * LOAD_FILES:.1f} of its cores from files, {rate * LOAD_PACK:.1f} from packs")


def gpus():
    # Assumptions, not measured: 40 % of 989 TFLOP/s in bf16, 300 GB/s between GPUs.
    rate = 0.4 * 989e12 / FLOPS_PER_SAMPLE
    whole = 8 * rate
    print(f"\n8 GPUs: {whole:,.0f} samples/s, 400 epochs in {SAMPLES * EPOCHS / whole / 3600:.1f} h without any other limit")
    print(f"loading at that rate: {whole * LOAD_FILES:,.0f} cores from files, {whole * LOAD_PACK:,.0f} from packs")
    step = BATCH / whole
    host = 2 * GRADIENTS * 7 / 8 * OVERHEAD
    device = 2 * GRADIENTS * 7 / 8 / 300e9
    print(f"a step: {1e3 * step:.0f} ms; sums through the host {1e3 * host:.0f} ms, between the GPUs {1e3 * device:.1f} ms")


if __name__ == "__main__":
    fit()
    cluster()
    gpus()
