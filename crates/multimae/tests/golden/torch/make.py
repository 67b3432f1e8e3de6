"""Makes the files of this folder: python make.py. Written with PyTorch 2.15 and NumPy 2.4."""

import argparse
import collections

import numpy as np
import torch
from safetensors.torch import save_file

torch.manual_seed(0)
base = torch.arange(60, dtype=torch.float32).reshape(5, 12)
weights = collections.OrderedDict()
for name in "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split():
    shift = 0 if name == "uint8" else 7
    weights[f"dtype.{name}"] = (base - shift).to(getattr(torch, name))
weights["view.transposed"] = base.t()
weights["view.slice"] = base[1:4, 2:10:3]
weights["view.alias"] = base
weights["scalar"] = torch.tensor(2.5)
weights["empty"] = torch.zeros(0, 3)
weights["parameter"] = torch.nn.Parameter(torch.ones(2, 2))
save_file({k: v.detach().clone().contiguous() for k, v in weights.items()}, "rich.safetensors")

model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
optimizer = torch.optim.AdamW(model.parameters())
model(torch.randn(5, 3)).sum().backward()
optimizer.step()
args = argparse.Namespace(
    batch_size=4,
    lr=1e-4,
    name="x",
    nested=argparse.Namespace(a=[1, 2, (3, None)]),
    numpy=np.float32(2.5),
    big=2**80,
    negative=-5,
    some={1},
)
checkpoint = {
    "model": weights,
    "optimizer": optimizer.state_dict(),
    "epoch": "best",
    "args": args,
    "scaler": {},
    "size": torch.Size([2, 3]),
    "device": torch.device("cpu"),
    "dtype": torch.float32,
}
torch.save(checkpoint, "rich.pth")
torch.save(checkpoint, "rich_protocol5.pth", pickle_protocol=5)
torch.save(checkpoint, "legacy.pth", _use_new_zipfile_serialization=False)
torch.save(model, "module.pth")
torch.save(model.state_dict(), "plain.pth")
torch.save({"state_dict": {"x": torch.full((4,), 7, dtype=torch.uint16)}}, "uint16.pth")
torch.jit.script(torch.nn.Linear(2, 2)).save("script.pth")
torch.serialization.set_crc32_options(False)
torch.save(model.state_dict(), "no_checksums.pth")
arrays = dict(
    w=np.arange(6, dtype="f4").reshape(2, 3),
    columns=np.asfortranarray(np.arange(6, dtype="f8").reshape(2, 3)),
    half=np.ones(3, "f2"),
    index=np.arange(3),
    scalar=np.float32(3),
    truth=np.array([True, False]),
)
np.savez("stored.npz", **arrays)
np.savez_compressed("deflated.npz", **arrays, zeros=np.zeros((300, 100), "f4"))
