"""The rate of PyTorch's GEMM at the sizes of `multimae bench --limits`, for a comparison in one run.

    python3 benches/pytorch/gemm.py [--threads N] [--bf16]

Prints a row per size, rows x columns x inner length. Needs PyTorch alone.
"""

import argparse
import time

import torch

SIZES = [
    (1584, 1536, 384),
    (1584, 384, 1536),
    (792, 3072, 768),
    (792, 768, 3072),
    (197, 3072, 768),
    (197, 768, 3072),
    (1536, 1536, 1536),
]
TRIES = 10


def rate(rows, columns, inner, dtype):
    """Operations per second of a linear layer without bias, the best of several."""
    x = torch.rand(rows, inner, dtype=dtype)
    weight = torch.rand(columns, inner, dtype=dtype)
    best = float("inf")
    for _ in range(TRIES):
        start = time.perf_counter()
        torch.nn.functional.linear(x, weight)
        best = min(best, time.perf_counter() - start)
    return 2 * rows * columns * inner / best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dtype = torch.bfloat16 if arguments.bf16 else torch.float32
    with torch.inference_mode():
        for size in SIZES:
            print("GEMM {} x {} x {}: {:.0f} GFLOP/s".format(*size, rate(*size, dtype) / 1e9))


if __name__ == "__main__":
    main()
