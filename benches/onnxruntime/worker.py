"""Does an inference case in ONNX Runtime or OpenVINO: `python worker.py CASE_DIR --engine onnxruntime`.

Answers as `benches/pytorch/worker.py` does. The model is the graph that `multimae bench` exports into the case's folder."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "pytorch"))

from memory import peak_memory  # noqa: E402

DTYPES = {"F32": np.float32, "I64": np.int64}


def tensors(path):
    """The tensors of a safetensors file by name."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)

    def tensor(entry):
        begin, end = entry["data_offsets"]
        values = np.frombuffer(content[start + begin : start + end], DTYPES[entry["dtype"]])
        return values.reshape(entry["shape"])

    return {name: tensor(entry) for name, entry in header.items()}


class OnnxRuntime:
    def __init__(self, model, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.version = onnxruntime.__version__

    def run(self, inputs):
        return self.session.run(None, inputs)


class OpenVino:
    def __init__(self, model, threads):
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self.request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
        self.version = openvino.__version__

    def run(self, inputs):
        # Neither inputs nor outputs are copied.
        return self.request.infer(inputs, share_inputs=True, share_outputs=True).values()


ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


def mean_of_absolutes(predictions):
    """The loss of `Inference` in PyTorch's worker, a plane at a time: their copies stay in the cache."""
    planes = [plane for value in predictions for plane in value.reshape(-1, *value.shape[-2:])]
    total = sum(np.abs(plane).sum(dtype=np.float64) for plane in planes)
    return float(total / sum(plane.size for plane in planes))


def say(**values):
    print(json.dumps(values), flush=True)


def timed(engine, inputs):
    start = time.perf_counter()
    loss = mean_of_absolutes(engine.run(inputs))
    return time.perf_counter() - start, loss


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", type=Path)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    case = json.loads((options.case / "case.json").read_text())
    work = case["work"]
    if work != "inference":
        sys.exit(f"{options.case}: the work is `{work}`; {options.engine} does `inference` only")
    every = tensors(options.case / "inputs.safetensors")
    inputs = {name: every[f"input.{name}"] for name in case["in_domains"]}
    engine = ENGINES[options.engine](os.fspath(options.case / "model.onnx"), options.threads)
    _, loss = timed(engine, inputs)
    say(ready=True, loss=loss, **{options.engine: engine.version})
    for line in sys.stdin:
        if line.strip() != "step":
            break
        seconds, loss = timed(engine, inputs)
        say(seconds=seconds, loss=loss)
    say(peak_memory=peak_memory())


if __name__ == "__main__":
    main()
