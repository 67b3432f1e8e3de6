"""Samples from files with torchvision and Pillow."""

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import InterpolationMode, RandomResizedCrop, functional

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
STRIDE = 4
# Of a step: many more than are made ahead while nobody asks.
BATCHES = 16


class Frames(Dataset):
    """RGB, standardised depth, and labels at a quarter of the size, cropped and flipped alike."""

    def __init__(self, case):
        root = Path(case["data"])
        self.size = case["image"]
        names = (root / f"{case['list']}.txt").read_text().split()
        find = lambda folder, name: next((root / folder).glob(f"{name}.*"))
        folders = ["rgb", "depth", case["labels"]]
        self.files = [[find(folder, name) for folder in folders] for name in names]

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        rgb, depth, labels = [Image.open(path) for path in self.files[index]]
        rgb = functional.pil_to_tensor(rgb.convert("RGB"))
        depth = torch.from_numpy(np.array(depth).astype(np.float32))[None] / 1000
        labels = torch.from_numpy(np.array(labels).astype(np.uint8))[None]
        crop = RandomResizedCrop.get_params if hasattr(RandomResizedCrop, "get_params") else None
        box = crop(rgb, (0.2, 1.0), (3 / 4, 4 / 3)) if crop else RandomResizedCrop(self.size).make_params([rgb])
        top, left, height, width = box.values() if isinstance(box, dict) else box
        nearest = InterpolationMode.NEAREST
        quarter = [side // STRIDE for side in self.size]
        rgb = functional.resized_crop(rgb, top, left, height, width, self.size, antialias=True)
        depth = functional.resized_crop(depth, top, left, height, width, self.size, nearest)
        labels = functional.resized_crop(labels, top, left, height, width, quarter, nearest)
        if random.random() < 0.5:
            rgb, depth, labels = [functional.hflip(x) for x in (rgb, depth, labels)]
        rgb = functional.normalize(rgb.float() / 255, MEAN, STD)
        return rgb, self.standardised(depth), labels[0].long()

    def standardised(self, depth):
        """By mean and deviation of the values between the 10th and 90th percentile."""
        values, _ = depth.flatten().sort()
        tenth = len(values) // 10
        values = values[tenth : len(values) - tenth]
        return (depth - values.mean()) / (values.var() + 1e-6).sqrt()


class Loading:
    def __init__(self, case, options):
        self.loader = DataLoader(
            Frames(case),
            batch_size=case["batch"],
            shuffle=True,
            drop_last=True,
            num_workers=options.threads,
            persistent_workers=True,
        )
        self.batches = iter(self.loader)

    def step(self):
        for _ in range(BATCHES):
            batch = next(self.batches, None)
            if batch is None:
                self.batches = iter(self.loader)
                next(self.batches)
        return 0.0
