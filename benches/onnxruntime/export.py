"""Exports an inference case to ONNX: `python export.py CASE_DIR OUT_DIR` writes `model.onnx`, its weights and the inputs.

A program of its own: the memory of PyTorch is not to count as that of the engine."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

# In front of this folder, which has a `worker`, too.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "pytorch"))

from model import MultiViT
from worker import read_tensors

OPSET = 17


class Flat(torch.nn.Module):
    """The model with inputs and outputs as sequences, which is the form that is exported."""

    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs):
        return tuple(self.model(dict(zip(self.names, inputs))).values())


@torch.inference_mode()
def main():
    folder, out = [Path(argument) for argument in sys.argv[1:]]
    case = json.loads((folder / "case.json").read_text())
    names = case["in_domains"]
    model = MultiViT(case).eval()
    model.load_state_dict(read_tensors(folder / "weights.safetensors"))
    tensors = read_tensors(folder / "inputs.safetensors")
    inputs = {name: tensors[f"input.{name}"] for name in names}
    # The batch is fixed, so traced lengths are right. The exporter that traces needs no `onnxscript`.
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.onnx.export(
        Flat(model, names),
        tuple(inputs.values()),
        out / "model.onnx",
        input_names=names,
        output_names=list(model.output_adapters),
        opset_version=OPSET,
        dynamo=False,
    )
    # Weights in a file beside the graph are mapped instead of read, which lowers the engine's peak memory.
    graph = onnx.load(out / "model.onnx")
    onnx.save_model(graph, out / "model.onnx", save_as_external_data=True, location="model.weights")
    np.savez(out / "inputs.npz", **{name: value.numpy() for name, value in inputs.items()})


if __name__ == "__main__":
    main()
