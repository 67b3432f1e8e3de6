"""Does a case's work in PyTorch, step by step as it is asked: `python worker.py CASE_DIR`.

Says `{"ready": true, "loss": ...}` after a first step; for every line `step` on the input it does a step and says
`{"seconds": ..., "loss": ...}`; for `end` it says `{"peak_memory": BYTES}`."""

import argparse
import json
import struct
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F

from memory import peak_memory

IGNORE = 255
TYPES = {"F32": torch.float32, "I64": torch.int64}


def read_tensors(path):
    """The tensors of a safetensors file."""
    data = bytearray(Path(path).read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        kind = TYPES[entry["dtype"]]
        values = torch.frombuffer(data, dtype=kind, offset=8 + length + start, count=(end - start) // kind.itemsize)
        # A copy: the file's bytes are not aligned, and are to go.
        tensors[name] = values.reshape(entry["shape"]).clone()
    return tensors


class Training:
    """Forward, backward, AdamW."""

    def __init__(self, case, model, options):
        self.model = model.to(options.device)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(
            trained, lr=case["lr"], betas=tuple(case["betas"]), weight_decay=case["weight_decay"], fused=True
        )
        self.autocast = options.autocast
        self.run = torch.compile(self.forward) if options.compile else self.forward

    def step(self):
        with self.autocast():
            loss = self.run()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.item()


def masked_mean(pixels, mask):
    """The mean over samples of each sample's mean over its hidden pixels; samples without any do not count."""
    counts = mask.flatten(1).sum(1)
    means = (pixels * mask).flatten(1).sum(1)[counts > 0] / counts[counts > 0]
    return means.mean()


class Pretrain(Training):
    def __init__(self, case, weights, inputs, options):
        from model import MultiMAE

        model = MultiMAE(case)
        model.load_state_dict(weights)
        self.inputs = {name: inputs[f"input.{name}"].to(options.device) for name in case["in_domains"]}
        masks = [inputs[f"mask.{name}"].to(options.device) for name in case["in_domains"]]
        self.mask = torch.cat(masks, 1)
        grid = [side // case["patch"] for side in case["image"]]
        self.masks = dict(zip(case["in_domains"], (mask.view(-1, *grid).float() for mask in masks)))
        self.patch = case["patch"]
        super().__init__(case, model, options)

    def hidden(self, task, shape):
        """1 at the pixels of hidden patches."""
        mask = self.masks[task]
        factor = shape[-1] // mask.shape[-1]
        return mask.repeat_interleave(factor, 1).repeat_interleave(factor, 2)

    def normalised(self, image):
        batch, channels, height, width = image.shape
        patch = self.patch
        x = image.view(batch, channels, height // patch, patch, width // patch, patch)
        axes = (1, 3, 5)
        mean, variance = x.mean(axes, keepdim=True), x.var(axes, keepdim=True)
        return ((x - mean) / (variance + 1e-6).sqrt()).view_as(image)

    def forward(self):
        predictions = self.model(self.inputs, self.mask)
        total = 0.0
        for task, prediction in predictions.items():
            prediction = prediction.float()
            source = "rgb" if task == "norm_rgb" else task
            target = self.inputs[source]
            if task == "semseg":
                pixels = F.cross_entropy(prediction, target, reduction="none")
            elif task == "depth":
                pixels = (prediction - target).abs().mean(1)
            else:
                target = self.normalised(target) if task == "norm_rgb" else target
                pixels = (prediction - target).square().mean(1)
            total = total + masked_mean(pixels, self.hidden(source, pixels.shape))
        return total


class Joint(Training):
    """Depth and labels from RGB; with prompts the backbone is frozen."""

    def __init__(self, case, weights, inputs, options):
        from model import MultiViT

        model = MultiViT(case)
        model.load_state_dict(weights)
        if case["work"] == "prompts":
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(name.startswith(("prompts.", "output_adapters.")))
        self.inputs = {name: inputs[f"input.{name}"].to(options.device) for name in case["in_domains"]}
        self.depth = inputs["target.depth"].to(options.device)
        self.labels = inputs["target.semseg"].to(options.device)
        self.double_pass = options.double_pass
        super().__init__(case, model, options)

    def predictions(self):
        if not self.double_pass:
            return self.model(self.inputs)
        # As the published joint script: one pass for labels, another one, block by block, for depth.
        tokens = self.model.embed(self.inputs)
        last = self.model.encoder(tokens)
        layers, x = [], tokens
        for block in self.model.encoder:
            x = block(x)
            layers.append(x)
        heads = self.model.output_adapters
        return {"depth": heads["depth"](layers, self.model.maps), "semseg": heads["semseg"]([last], self.model.maps)}

    def loss(self, predictions):
        depth = (predictions["depth"].float() - self.depth).abs().mean()
        return depth + F.cross_entropy(predictions["semseg"].float(), self.labels, ignore_index=IGNORE)

    def forward(self):
        return self.loss(self.predictions())


class Heads(Joint):
    """Both heads on given layers, forward and backward, inputs included."""

    def __init__(self, case, weights, inputs, options):
        super().__init__(case, weights, {**inputs, **{f"input.{n}": torch.zeros(1) for n in case["in_domains"]}}, options)
        given = {int(name.split(".")[1]): value for name, value in inputs.items() if name.startswith("layer.")}
        self.given = {index: value.to(options.device).requires_grad_() for index, value in given.items()}
        self.count = case["depth"]

    def forward(self):
        return self.loss(self.model.heads([self.given.get(index) for index in range(self.count)]))

    def step(self):
        with self.autocast():
            loss = self.run()
        for tensor in [*self.model.parameters(), *self.given.values()]:
            tensor.grad = None
        loss.backward()
        return loss.item()


class Inference:
    def __init__(self, case, weights, inputs, options):
        from model import MultiViT

        self.model = MultiViT(case).to(options.device).eval()
        self.model.load_state_dict(weights)
        self.inputs = {name: inputs[f"input.{name}"].to(options.device) for name in case["in_domains"]}
        self.autocast = options.autocast
        self.run = torch.compile(self.model) if options.compile else self.model

    @torch.inference_mode()
    def step(self):
        with self.autocast():
            predictions = self.run(self.inputs)
        total = sum(value.float().abs().sum(dtype=torch.float64) for value in predictions.values())
        return (total / sum(value.numel() for value in predictions.values())).item()


def loading(case, weights, inputs, options):
    from loading import Loading

    return Loading(case, options)


WORKS = {
    "pretrain": Pretrain,
    "joint": Joint,
    "prompts": Joint,
    "heads": Heads,
    "inference": Inference,
    "loading": loading,
}


def say(**values):
    print(json.dumps(values), flush=True)


def timed(work, cuda):
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    loss = work.step()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start, loss


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--double-pass", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bf16 = options.precision == "bf16"
    options.autocast = lambda: torch.autocast(options.device, torch.bfloat16) if bf16 else nullcontext()
    case = json.loads((options.case / "case.json").read_text())
    weights = read_tensors(options.case / "weights.safetensors")
    work = WORKS[case["work"]](case, weights, read_tensors(options.case / "inputs.safetensors"), options)
    del weights
    cuda = options.device == "cuda"
    _, loss = timed(work, cuda)
    say(ready=True, torch=torch.__version__, loss=loss)
    for line in sys.stdin:
        if line.strip() != "step":
            break
        seconds, loss = timed(work, cuda)
        say(seconds=seconds, loss=loss)
    say(peak_memory=torch.cuda.max_memory_allocated() if cuda else peak_memory())


if __name__ == "__main__":
    main()
