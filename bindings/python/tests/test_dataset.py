"""Data sets: folders, packs, pickling and forks."""

import multiprocessing
import os
import pickle

import numpy as np
import pytest
from conftest import run

import multimae


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_samples_are_arrays(rooms):
    dataset = multimae.Dataset(rooms)
    assert len(dataset) == 12 and len(dataset.ids) == 12
    assert dataset.modalities == ["depth", "label40", "rgb"]
    sample = dataset[0]
    assert sample["id"] == dataset.ids[0]
    assert (sample["rgb"].dtype, sample["rgb"].shape) == (np.uint8, (96, 128, 3))
    assert (sample["depth"].dtype, sample["depth"].shape) == (np.float32, (96, 128))
    assert (sample["label40"].dtype, sample["label40"].shape) == (np.int64, (96, 128))
    assert 0.1 < np.nanmean(sample["depth"]) < 10
    same(dataset[-1], dataset[11])
    for index in (12, -13):
        with pytest.raises(IndexError, match="has 12"):
            dataset[index]
    assert sum(1 for _ in dataset) == 12
    assert "12 samples" in repr(dataset)


def test_entries_say_how_files_are_stored(rooms):
    entries = {
        "depth": {"divisor": 500},
        "semseg": {"folder": "label40", "classes": 40, "offset": -1, "ignore": 255},
        "normal": {"channels": 3, "stored": "unit_vectors"},
    }
    dataset = multimae.Dataset(rooms, split="val", modalities=entries)
    plain = multimae.Dataset(rooms, split="val", modalities=["depth", "label40"])
    assert len(dataset) == len(plain) < 12
    sample, other = dataset[0], plain[0]
    np.testing.assert_allclose(sample["depth"], 2 * other["depth"], rtol=1e-6)
    stored = other["label40"]
    np.testing.assert_array_equal(sample["semseg"], np.where(stored == 0, 255, stored - 1))
    length = np.linalg.norm(sample["normal"], axis=0)
    assert sample["normal"].shape == (3, 96, 128)
    np.testing.assert_allclose(length[~np.isnan(length)], 1, atol=0.02)


def test_packs_hold_the_same(program, rooms, tmp_path):
    pack = tmp_path / "rooms.pack"
    run(program, "pack", "--data", rooms, "--out", pack)
    folder, packed = multimae.Dataset(rooms, split="train"), multimae.Dataset(pack, split="train")
    assert packed.ids == folder.ids
    for index in range(len(folder)):
        same(packed[index], folder[index])


def test_errors_name_the_place(rooms, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        multimae.Dataset(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="thermal"):
        multimae.Dataset(rooms, modalities={"thermal": {"channels": 1}})
    with pytest.raises(OSError, match="nothing.txt"):
        multimae.Dataset(rooms, split="nothing")
    with pytest.raises(multimae.Error, match="channles"):
        multimae.Dataset(rooms, modalities={"depth": {"channles": 1}})
    with pytest.raises(multimae.Error, match="list of names"):
        multimae.Dataset(rooms, modalities=3)
    (tmp_path / "rgb").mkdir()
    (tmp_path / "rgb" / "a.png").write_bytes(b"no picture")
    dataset = multimae.Dataset(tmp_path)
    with pytest.raises(multimae.Error, match="sample `a`, modality `rgb`"):
        dataset[0]


def test_data_sets_are_pickled_by_their_arguments(rooms):
    entries = {"rgb": None, "depth": {"divisor": 500}}
    dataset = multimae.Dataset(rooms, split="train", modalities=entries)
    other = pickle.loads(pickle.dumps(dataset))
    assert other.ids == dataset.ids
    same(other[2], dataset[2])


def read(dataset, index, queue):
    queue.put(float(np.nansum(dataset[index]["depth"])))


def predict(model, rgb, queue):
    try:
        model.predict({"rgb": rgb})
        queue.put("computed")
    except multimae.Error as error:
        queue.put(str(error))


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


@needs_fork
def test_forked_processes_read_after_the_parent_computed(rooms, tuned):
    dataset, model = multimae.Dataset(rooms), multimae.load(tuned)
    rgb = dataset[0]["rgb"]
    model.predict({"rgb": rgb})
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=read, args=(dataset, 3, queue))
    child.start()
    assert queue.get(timeout=60) == float(np.nansum(dataset[3]["depth"]))
    child.join(60)
    # Threads of the model do not exist in the child, which says so and does not wait.
    child = context.Process(target=predict, args=(model, rgb, queue))
    child.start()
    assert "was forked from process" in queue.get(timeout=60)
    child.join(60)


@needs_fork
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_loaders_of_pytorch_read_in_workers(rooms, start):
    torch = pytest.importorskip("torch", reason="PyTorch is missing: its DataLoader is not tested")
    dataset = multimae.Dataset(rooms)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=4, num_workers=2, multiprocessing_context=start
    )
    batches = list(loader)
    assert [batch["rgb"].shape for batch in batches] == [(4, 96, 128, 3)] * 3
    assert [name for batch in batches for name in batch["id"]] == dataset.ids
    np.testing.assert_array_equal(batches[2]["depth"][3].numpy(), dataset[11]["depth"])
