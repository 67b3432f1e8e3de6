#!/usr/bin/env python3
"""Opens exported folders with the tools they are for and compares with the example inside.

    crates/multimae-export/python/install.sh VENV
    VENV/bin/python crates/multimae-export/python/check.py FOLDER...

Every folder of `multimae export` has `test/input.NAME.npy` and `test/output.NAME.npy`, which our own
prediction made. Prints a line per folder and runtime with the largest difference, relative to values of more
than one. Exits with 1 if one is larger than --tolerance. A tool that is not installed is skipped, and said so.
"""

import argparse
import importlib.util
import json
import pathlib
import sys

import numpy as np


def arrays(folder, kind):
    """The example's inputs or outputs by name."""
    files = sorted((folder / "test").glob(f"{kind}.*.npy"))
    return {file.name[len(kind) + 1 : -len(".npy")]: np.load(file) for file in files}


def difference(expected, got):
    """The largest difference, and that of class indices as a share of the pixels."""
    largest = 0.0
    for name, own in expected.items():
        theirs = np.asarray(got[name])
        if own.shape != theirs.shape:
            raise SystemExit(f"{name}: {theirs.shape} where {own.shape} is expected")
        if own.dtype == np.int64:
            largest = max(largest, float(np.mean(own != theirs)))
        else:
            largest = max(largest, float(np.max(np.abs(own - theirs) / np.maximum(1.0, np.abs(own)))))
    return largest


def onnx_checker(folder):
    import onnx

    onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
    return 0.0


def onnx_runtime(folder):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return difference(arrays(folder, "output"), dict(zip(names, session.run(None, arrays(folder, "input")))))


def openvino(folder):
    import openvino

    core = openvino.Core()
    model = core.compile_model(str(folder / "model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = model(arrays(folder, "input"))
    named = {name: outputs[output] for output in model.outputs for name in output.get_names()}
    return difference(arrays(folder, "output"), named)


def transformers(folder):
    import torch
    import transformers

    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[key]:
            raise SystemExit(f"{folder}: {key} {sorted(map(str, info[key]))[:5]}")
    with torch.no_grad():
        outputs = model.eval()(**{name: torch.from_numpy(value) for name, value in arrays(folder, "input").items()})
    return difference(arrays(folder, "output"), {name: outputs[name].numpy() for name in arrays(folder, "output")})


def transformers_pipeline(folder):
    import PIL.Image
    import transformers

    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    task = "depth-estimation" if "Depth" in name else "image-segmentation"
    ramp = np.linspace(0, 255, 200 * 150 * 3).astype(np.uint8).reshape(150, 200, 3)
    result = transformers.pipeline(task, model=str(folder))(PIL.Image.fromarray(ramp))
    picture = result["depth"] if isinstance(result, dict) else result[0]["mask"]
    if picture.size != (200, 150):
        raise SystemExit(f"{folder}: the pipeline gave {picture.size} for a picture of (200, 150)")
    return 0.0


def timm_features(folder):
    import timm
    import torch

    model = timm.create_model(f"local-dir:{folder.resolve()}", pretrained=True).eval()
    return of_features(model, folder, torch)


def peft_features(folder):
    import timm
    import torch
    from peft import PeftModel

    base = timm.create_model(f"local-dir:{(folder / 'base').resolve()}", pretrained=True)
    plain = of_features(base.eval(), folder, torch)
    adapted = of_features(PeftModel.from_pretrained(base, str(folder)).eval(), folder, torch)
    if plain <= adapted:
        raise SystemExit(f"{folder}: the adapter changes nothing ({plain:.1e} without, {adapted:.1e} with it)")
    return adapted


def of_features(model, folder, torch):
    with torch.no_grad():
        features = model.forward_features(torch.from_numpy(arrays(folder, "input")["x"])).numpy()
    return difference(arrays(folder, "output"), {"features": features})


# A file by which a format is recognised, then the tool, its package, and the check.
CHECKS = [
    ("model.onnx", "onnx checker", "onnx", onnx_checker),
    ("model.onnx", "ONNX Runtime", "onnxruntime", onnx_runtime),
    ("model.onnx", "OpenVINO", "openvino", openvino),
    ("preprocessor_config.json", "transformers", "transformers", transformers),
    ("preprocessor_config.json", "transformers, pipeline", "transformers", transformers_pipeline),
    ("adapter_config.json", "PEFT", "peft", peft_features),
    ("config.json", "timm", "timm", timm_features),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--tolerance", type=float, default=2e-5)
    arguments = parser.parse_args()
    failed = False
    print("| folder | tool | version | largest difference |\n|---|---|---|---:|")
    for folder in arguments.folders:
        if not (folder / "test").is_dir():
            raise SystemExit(f"{folder}: no folder of `multimae export`; it has no test/")
        for marker, tool, package, check in CHECKS:
            is_other = marker == "config.json" and (folder / "preprocessor_config.json").exists()
            if not (folder / marker).exists() or is_other:
                continue
            if importlib.util.find_spec(package) is None:
                print(f"{tool}: SKIPPED, {package} is not installed", file=sys.stderr)
                continue
            version = importlib.import_module(package).__version__
            found = check(folder)
            failed |= found > arguments.tolerance
            print(f"| {folder.name} | {tool} | {version} | {found:.1e} |", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
