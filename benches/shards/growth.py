"""Start-up, memory and samples per second of torchvision's ImageFolder and of webdataset.

The shards are those of `cargo run --release -p multimae-data --example growth -- make DIR N`.

    python growth.py unpack SHARDS FOLDER     writes the rgb images of the shards as files
    python growth.py imagefolder FOLDER       torchvision, shuffled, through a DataLoader
    python growth.py webdataset SHARDS        webdataset, shards and a buffer shuffled, rgb, depth and labels

Needs numpy, torch, torchvision, webdataset and pillow. Each reader decodes with Pillow, crops as training does
(RandomResizedCrop to 16 pixels) and makes tensors, in this process or in --workers.
"""

import argparse
import glob
import os
import re
import tarfile
import time

import numpy
import torch
from torchvision import datasets, transforms

BATCH = 256


def memory():
    """Bytes of this process's own memory."""
    with open("/proc/self/status") as status:
        return int(re.search(r"RssAnon:\s+(\d+)", status.read()).group(1)) * 1024


def crop(size=16):
    return transforms.Compose(
        [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    )


def rate(loader, most):
    start, used, samples, first = time.perf_counter(), time.process_time(), 0, None
    for batch in loader:
        samples += len(batch[0])
        first = first or time.perf_counter() - start
        if samples >= most:
            break
    return samples / (time.perf_counter() - start), samples / (time.process_time() - used), first


def unpack(args):
    for path in sorted(glob.glob(os.path.join(args.source, "*.tar"))):
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.name.endswith(".rgb.jpg"):
                    continue
                to = os.path.join(args.folder, member.name)
                os.makedirs(os.path.dirname(to), exist_ok=True)
                with open(to, "wb") as file:
                    file.write(tar.extractfile(member).read())


def imagefolder(args):
    before, start, used = memory(), time.perf_counter(), time.process_time()
    data = datasets.ImageFolder(args.source, crop())
    elapsed, used = time.perf_counter() - start, time.process_time() - used
    print(f"{len(data)} samples opened in {elapsed:.3f} s, {used:.2f} s of processors")
    print(f"memory: {(memory() - before) / 1e6:.0f} MB")
    report(torch.utils.data.DataLoader(data, BATCH, shuffle=True, num_workers=args.workers), args)


def as_tensors(sample):
    """Pictures of one sample at the same crop."""
    rgb, depth, labels = sample
    box = transforms.RandomResizedCrop.get_params(rgb, (0.2, 1.0), (0.75, 4 / 3))
    rgb, depth, labels = (
        transforms.functional.resized_crop(image, *box, (16, 16)) for image in (rgb, depth, labels)
    )
    depth = torch.from_numpy(numpy.asarray(depth).astype("float32"))
    return transforms.functional.to_tensor(rgb), depth, transforms.functional.pil_to_tensor(labels)


def with_webdataset(args):
    import webdataset

    before, start = memory(), time.perf_counter()
    shards = sorted(glob.glob(os.path.join(args.source, "*.tar")))
    data = (
        webdataset.WebDataset(shards, shardshuffle=100, empty_check=False)
        .shuffle(1000)
        .decode("pil")
        .to_tuple("rgb.jpg", "depth.png", "semseg.png")
        .map(as_tensors)
    )
    print(f"{len(shards)} shards opened in {time.perf_counter() - start:.3f} s")
    print(f"memory: {(memory() - before) / 1e6:.0f} MB")
    report(torch.utils.data.DataLoader(data, BATCH, num_workers=args.workers), args)


def report(loader, args):
    per_second, of_processor, first = rate(loader, args.samples)
    print(f"{args.workers} workers: {per_second:.0f} samples per second; first batch after {first:.2f} s")
    if args.workers == 0:
        print(f"{of_processor:.0f} samples per second of a processor")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=["unpack", "imagefolder", "webdataset"])
    parser.add_argument("source")
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--samples", type=int, default=100_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"unpack": unpack, "imagefolder": imagefolder, "webdataset": with_webdataset}[args.command](args)


if __name__ == "__main__":
    main()
