"""Does an inference case in ONNX Runtime or OpenVINO: `python worker.py CASE_DIR --engine onnxruntime`.

Answers as `benches/pytorch/worker.py` does. The model is that of PyTorch, exported once into the case's folder."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "pytorch"))

from memory import peak_memory  # noqa: E402

SOURCES = ["case.json", "weights.safetensors", "inputs.safetensors"]


def exported(case):
    """The folder of the exported model; the export is made if it is missing, or older than the case."""
    out, part = case / "onnx", case / "onnx.part"
    model = out / "model.onnx"
    if model.is_file() and model.stat().st_mtime >= max((case / name).stat().st_mtime for name in SOURCES):
        return out
    for folder in (out, part):
        shutil.rmtree(folder, ignore_errors=True)
    part.mkdir()
    script = Path(__file__).resolve().parent / "export.py"
    # Standard output is for answers.
    done = subprocess.run([sys.executable, script, case, part], stdout=sys.stderr)
    if done.returncode:
        sys.exit(f"{case}: the export to ONNX failed")
    # Renamed at the end: an export that was interrupted is not taken for a whole one.
    part.rename(out)
    return out


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
    work = json.loads((options.case / "case.json").read_text())["work"]
    if work != "inference":
        sys.exit(f"{options.case}: the work is `{work}`; {options.engine} does `inference` only")
    folder = exported(options.case)
    with np.load(folder / "inputs.npz") as file:
        inputs = dict(file)
    engine = ENGINES[options.engine](os.fspath(folder / "model.onnx"), options.threads)
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
