#!/usr/bin/env python3
"""Packs the encoder of a pre-training run into a few megabytes, and unpacks it.

    pack.py pack RUN FILE.npz     model.safetensors of a run: the encoder, RGB's adapter, the global tokens
    pack.py unpack FILE.npz OUT.npz

Matrices have 7 bits per value and a scale per row; `multimae finetune --set finetune=OUT.npz` takes the
unpacked file. Needs NumPy.
"""

import json
import pathlib
import sys

import numpy as np

LEVELS = 63
KEPT = ("encoder.", "input_adapters.rgb.", "global_tokens")
SCALE = "/scale"


def tensors(path):
    """The 32-bit tensors of a safetensors file by name."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(content[start + begin : start + end], np.float32)
        yield name, values.reshape(entry["shape"])


def pack(run, out):
    arrays = {}
    for name, values in tensors(pathlib.Path(run) / "model.safetensors"):
        if not name.startswith(KEPT):
            continue
        if values.ndim < 2 or name.endswith(("pos_emb", "global_tokens")):
            arrays[name] = values
            continue
        rows = values.reshape(values.shape[0], -1)
        scale = np.maximum(np.abs(rows).max(axis=1), 1e-12) / LEVELS
        arrays[name] = np.rint(rows / scale[:, None]).astype(np.int8).reshape(values.shape)
        arrays[name + SCALE] = scale.astype(np.float32)
    np.savez_compressed(out, **arrays)


def unpack(packed, out):
    with np.load(packed) as file:
        arrays = dict(file)
    floats = {}
    for name, values in arrays.items():
        if name.endswith(SCALE):
            continue
        if values.dtype == np.int8:
            scale = arrays[name + SCALE].reshape([-1] + [1] * (values.ndim - 1))
            values = values.astype(np.float32) * scale
        floats[name] = values
    np.savez(out, **floats)


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("pack", "unpack"):
        raise SystemExit(__doc__)
    (pack if sys.argv[1] == "pack" else unpack)(sys.argv[2], sys.argv[3])


if __name__ == "__main__":
    main()
