"""Predicts the case's picture and ends: `python predict_once.py CASE_DIR`. Timed from the outside."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model import MultiViT
from worker import read_tensors

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@torch.inference_mode()
def main():
    folder = Path(sys.argv[1])
    case = json.loads((folder / "case.json").read_text())
    model = MultiViT(case).eval()
    model.load_state_dict(read_tensors(folder / "weights.safetensors"))
    picture = Image.open(case["picture"]).convert("RGB")
    height, width = case["image"]
    image = torch.from_numpy(np.array(picture.resize((width, height), Image.BILINEAR))).permute(2, 0, 1) / 255
    image = (image - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    predictions = model({"rgb": image[None].float()})
    size = picture.size[::-1]
    depth = torch.nn.functional.interpolate(predictions["depth"], size=size, mode="bilinear", align_corners=False)
    labels = torch.nn.functional.interpolate(predictions["semseg"], size=size, mode="bilinear", align_corners=False)
    out = folder / "pytorch"
    out.mkdir(exist_ok=True)
    metres = depth[0, 0].clamp(0.001, 10.0)
    np.save(out / "depth.npy", metres.numpy())
    Image.fromarray((metres * 1000).round().numpy().astype(np.uint16)).save(out / "depth.png")
    Image.fromarray(labels[0].argmax(0).numpy().astype(np.uint8) + 1).save(out / "semseg.png")


if __name__ == "__main__":
    main()
