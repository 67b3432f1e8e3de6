"""Runs of `multimae pretrain` by several processes, and what they wrote. Standard library only."""

import array
import json
import os
import shutil
import subprocess
from pathlib import Path
from statistics import median

# One step has four passes of two samples, so one, two or four processes can share it.
RECIPE = """
model: {width: 48, depth: 2, heads: 3}
in_domains: rgb-depth
out_domains: rgb-depth
extra_norm_pix_loss: false
input_size: [64, 96]
patch_size: 16
num_encoded_tokens: 12
decoder_dim: 48
decoder_depth: 1
decoder_num_heads: 3
drop_path: 0.1
batch_size: 2
update_freq: 4
epochs: 20
warmup_epochs: 2
blr: 0.01
log_freq: 1
log_images: 0
keep_ckpt: 2
save_ckpt_steps: 10
save_ckpt_freq: 1000
num_workers: 1
"""


# The samples of a step of the recipe.
STEP_SAMPLES = 8


# A model of 8.5 million values: 34 MB of gradients in every step.
LARGER = (
    "model={width: 192, depth: 12, heads: 3}", "decoder_dim=192", "decoder_depth=2", "epochs=1",
    "log_images=0", "save_ckpt_steps=1000",
)


def prepare(program, work):
    """Writes the recipe and 80 generated frames to train on: 10 steps an epoch, 200 steps."""
    work.mkdir(parents=True, exist_ok=True)
    recipe = work / "recipe.yaml"
    recipe.write_text(RECIPE)
    data = work / "rooms"
    if not data.exists():
        command = [program, "synth", "--out", data, "--count", "89", "--size", "96x64", "--val-share", "0.1"]
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return recipe, data


def command(program, recipe, data, out, resume=False, changes=()):
    words = [program, "pretrain", "--config", recipe, "--data", data, "--out", out]
    for change in ("split=train", *changes):
        words += ["--set", change]
    return [str(word) for word in words + (["--resume"] if resume else [])]


def environment(threads):
    """Threads of a process, so that processes share the processors evenly."""
    return {**os.environ, "RAYON_NUM_THREADS": str(threads)}


def fresh(out):
    shutil.rmtree(out, ignore_errors=True)
    return out


def losses(out):
    """The summed losses of all steps, in order."""
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = {record["step"]: record["loss"] for record in records if record["kind"] == "train"}
    return [steps[step] for step in sorted(steps)]


def rates(out):
    """Median samples per second and share of a step in which gradients are summed, from the third step on."""
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in records if record["kind"] == "train" and record["step"] > 2]
    shares = [record.get("communication_share", 0.0) for record in steps]
    return median(record["samples_per_second"] for record in steps), median(shares)


def weights(path):
    """The tensors of a safetensors file by name, as arrays of floats."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__" or info["dtype"] != "F32":
            continue
        begin, end = info["data_offsets"]
        values = array.array("f")
        values.frombytes(content[8 + length + begin : 8 + length + end])
        tensors[name] = values
    return tensors


def compare(reference, other):
    """Largest relative difference of losses, largest difference of weights."""
    pairs = list(zip(losses(reference), losses(other), strict=True))
    of_losses = max(abs(a - b) / abs(a) for a, b in pairs)
    a, b = (weights(out / "model.safetensors") for out in (reference, other))
    assert a.keys() == b.keys()
    of_weights = max(abs(x - y) for name in a for x, y in zip(a[name], b[name], strict=True))
    return len(pairs), of_losses, of_weights
