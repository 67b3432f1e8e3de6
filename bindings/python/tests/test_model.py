"""Prediction, features and reconstruction."""

import pickle
import threading

import numpy as np
import pytest
from conftest import run

import multimae


@pytest.fixture(scope="module")
def model(tuned):
    return multimae.load(tuned)


@pytest.fixture(scope="module")
def dataset(rooms):
    return multimae.Dataset(rooms)


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_predictions_are_those_of_the_program(program, rooms, tuned, model, dataset, tmp_path):
    run(program, "predict", "--model", tuned, "--input", rooms / "rgb", "--out", tmp_path)
    for sample in (dataset[0], dataset[7]):
        prediction = model.predict({"rgb": sample["rgb"]})
        assert list(prediction) == ["depth", "semseg"]
        for task, values in prediction.items():
            expected = np.load(tmp_path / task / f"{sample['id']}.npy")
            assert (values.dtype, values.shape) == (expected.dtype, expected.shape)
            np.testing.assert_array_equal(values, expected)
        assert prediction["depth"].dtype == np.float32
        assert prediction["depth"].shape == sample["rgb"].shape[:2]


def test_arrays_of_depth_give_the_predictions_of_files(program, rooms, tuned_on_depth, tmp_path):
    out = tmp_path / "out"
    inputs = ["--input", f"rgb={rooms / 'rgb'}", "--input", f"depth={rooms / 'depth'}"]
    run(program, "predict", "--model", tuned_on_depth, *inputs, "--out", out)
    model = multimae.load(tuned_on_depth)
    sample = multimae.Dataset(rooms)[3]
    depth = sample["depth"]
    assert depth.dtype == np.float32 and np.nanmax(depth) < 20
    expected = np.load(out / "semseg" / f"{sample['id']}.npy")
    for array in (depth, depth[None], np.asfortranarray(depth), np.nan_to_num(depth)):
        prediction = model.predict({"rgb": sample["rgb"], "depth": array})
        np.testing.assert_array_equal(prediction["semseg"], expected)
    with pytest.raises(multimae.Error, match="uint16"):
        model.predict({"rgb": sample["rgb"], "depth": (1000 * np.nan_to_num(depth)).astype(np.uint16)})


def test_inputs_of_other_forms_give_the_same(model, dataset):
    rgb = dataset[0]["rgb"]
    expected = model.predict({"rgb": rgb})
    planes = rgb.transpose(2, 0, 1).astype(np.float32) / 255
    same(model.predict({"rgb": planes}), expected)
    same(model.predict({"rgb": planes.astype(np.float64)}), expected)
    same(model.predict({"rgb": np.ascontiguousarray(rgb[:, ::-1])[:, ::-1]}), expected)


def test_batches_and_lists(model, dataset):
    frames = [dataset[i]["rgb"] for i in range(3)]
    single = [model.predict({"rgb": rgb}) for rgb in frames]
    batch = model.predict({"rgb": np.stack(frames)})
    same(batch, {task: np.stack([one[task] for one in single]) for task in single[0]})
    other = model.predict([{"rgb": frames[0]}, {"rgb": frames[1][:80, :64]}])
    same(other[0], single[0])
    assert other[1]["depth"].shape == (80, 64)
    assert model.predict({"rgb": np.stack(frames[:1])})["depth"].shape[0] == 1
    assert model.predict([]) == []


def test_mirrored_frames_count_with_flip(model, dataset):
    rgb = dataset[0]["rgb"]
    both = model.predict({"rgb": rgb}, flip=True)["depth"]
    plain = model.predict({"rgb": rgb})["depth"]
    mirrored = model.predict({"rgb": np.ascontiguousarray(rgb[:, ::-1])})["depth"][:, ::-1]
    np.testing.assert_allclose(both, (plain + mirrored) / 2, rtol=1e-4, atol=1e-4)


def test_results_own_their_memory(model, dataset):
    depth = model.predict({"rgb": dataset[0]["rgb"]})["depth"]
    assert depth.flags.c_contiguous and depth.flags.writeable
    depth += 1


def test_errors_say_what_to_do(model, tuned, dataset, tmp_path):
    rgb = dataset[0]["rgb"]
    assert issubclass(multimae.Error, ValueError)
    for inputs, text in [
        ({"thermal": rgb}, "no input `thermal`; it has rgb"),
        ({}, "no input is given"),
        ({"rgb": rgb.transpose(2, 0, 1)}, r"expected uint8 \(H, W, 3\)"),
        ({"rgb": rgb.astype(np.float32).transpose(2, 0, 1)}, "divide by 255"),
        ({"rgb": rgb.astype(np.int32)}, "an array of int32"),
        (rgb, "a dictionary of arrays"),
        ([{"rgb": rgb[None]}], "frame 0 of the list has a batch axis"),
    ]:
        with pytest.raises(multimae.Error, match=text):
            model.predict(inputs)
    with pytest.raises(FileNotFoundError, match="absent"):
        multimae.load(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(multimae.Error, match="text.safetensors"):
        multimae.load(tmp_path / "text.safetensors")
    with pytest.raises(multimae.Error, match="weights_key"):
        multimae.load(tuned, weights_key="model_ema")
    with pytest.raises(multimae.Error, match="use `predict`"):
        model.reconstruct({"rgb": rgb}, {"rgb": [0]})


def test_config_is_the_card(model):
    config = model.config
    assert set(config["tasks"]) == {"depth", "semseg"}
    assert config["inputs"][0]["data"]["name"] == "rgb"
    assert (model.inputs, model.tasks, model.grid) == (["rgb"], ["depth", "semseg"], None)
    assert "rgb to depth, semseg" in repr(model)


def test_models_are_pickled_by_their_path(model, dataset):
    other = pickle.loads(pickle.dumps(model))
    inputs = {"rgb": dataset[0]["rgb"]}
    same(other.predict(inputs), model.predict(inputs))


def test_threads_compute_at_the_same_time(model, dataset):
    rgb = dataset[0]["rgb"]
    expected = model.predict({"rgb": rgb})
    results = [None] * 4

    def work(place):
        results[place] = model.predict({"rgb": rgb})

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        same(result, expected)


def test_features_follow_timm(model, dataset):
    rgb = np.stack([dataset[i]["rgb"] for i in range(2)])
    config = model.config["model"]
    depth, width = config["encoder"]["depth"], config["encoder"]["width"]
    layers = model.features({"rgb": rgb})
    assert len(layers) == depth
    assert layers[0]["rgb"].shape == (2, width, 6, 8)
    chosen = model.features({"rgb": rgb}, indices=[0, -1])
    same(chosen[1], layers[-1])
    assert len(model.features({"rgb": rgb}, indices=3)) == 3
    tokens = model.features({"rgb": rgb}, indices=1, output_fmt="NLC")[0]["rgb"]
    np.testing.assert_array_equal(
        tokens, layers[-1]["rgb"].reshape(2, width, -1).transpose(0, 2, 1)
    )
    last, ((maps, prefix),) = model.features(
        {"rgb": rgb},
        indices=1,
        return_prefix_tokens=True,
        output_fmt="NLC",
        intermediates_only=False,
    )
    np.testing.assert_array_equal(last, np.concatenate([maps["rgb"], prefix], 1))
    assert prefix.shape == (2, config["num_global_tokens"], width)
    single = model.features({"rgb": rgb[0]}, indices=1)[0]["rgb"]
    np.testing.assert_allclose(single[0], layers[-1]["rgb"][0], rtol=1e-4, atol=1e-4)
    for arguments in ({"indices": [depth]}, {"indices": 0}, {"output_fmt": "HW"}, {"norm": True}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            model.features({"rgb": rgb}, **arguments)


def test_features_of_tasks_with_blocks_of_their_own(tuned_by_task, dataset):
    model = multimae.load(tuned_by_task)
    inputs = {"rgb": dataset[0]["rgb"]}
    depth, labels = (model.features(inputs, task=task) for task in ("depth", "semseg"))
    same(depth[0], labels[0])
    assert not np.array_equal(depth[-1]["rgb"], labels[-1]["rgb"])
    with pytest.raises(ValueError, match="give task="):
        model.features(inputs)
    with pytest.raises(ValueError, match="the model has depth, semseg"):
        model.features(inputs, task="normals")


def inputs_of(sample, names):
    return {name: sample[name] for name in names}


@pytest.fixture(scope="module")
def masked(pretrained):
    return multimae.load(pretrained)


@pytest.fixture(scope="module")
def whole(rooms):
    entries = {
        "rgb": {},
        "depth": {},
        "semseg": {"folder": "label40"},
        "normal": {"channels": 3, "stored": "unit_vectors"},
    }
    return multimae.Dataset(rooms, modalities=entries)


def test_reconstructions_are_those_of_the_program(program, rooms, pretrained, masked, whole, tmp_path):
    run(program, "predict", "--model", pretrained, "--input", rooms, "--out", tmp_path)
    sample = whole[0]
    inputs = inputs_of(sample, masked.inputs)
    area = masked.grid[0] * masked.grid[1]
    for task in masked.tasks:
        others = {name: list(range(area)) for name in masked.inputs if name != task}
        expected = np.load(tmp_path / task / f"{sample['id']}.npy")
        result = masked.reconstruct(inputs, visible=others)[task]
        assert result.shape == expected.shape
        # Normals from arrays are the stored components after their rounding to floats.
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_patches_are_chosen_or_drawn(masked, whole):
    inputs = {"rgb": whole[0]["rgb"]}
    chosen = masked.reconstruct(inputs, visible={"rgb": [0, 5]})
    assert set(chosen) == set(masked.tasks)
    assert chosen["rgb"].shape == (3, 96, 128) and chosen["depth"].shape == (1, 96, 128)
    drawn = [masked.reconstruct(inputs, visible={"rgb": 5}, seed=seed)["rgb"] for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    assert masked.reconstruct({"rgb": np.stack([whole[0]["rgb"]] * 2)}, 7)["depth"].shape[0] == 2
    for visible, text in [
        ({"rgb": [1000]}, "no patch 1000"),
        ({"depth": [0]}, "does not have"),
        ({"thermal": [0]}, "no input `thermal`"),
        ({"rgb": []}, "no patch is visible"),
        ({"rgb": [0], "depth": 3}, "not both"),
        ("rgb", "lists of patches"),
    ]:
        with pytest.raises(multimae.Error, match=text):
            masked.reconstruct(inputs, visible)
    with pytest.raises(multimae.Error, match="has no heads"):
        masked.predict(inputs)


def test_features_of_pretrained_models(masked, whole):
    inputs = inputs_of(whole[0], ["rgb", "depth"])
    (layer,) = masked.features(inputs, indices=1)
    width = masked.config["model"]["encoder"]["width"]
    assert {name: maps.shape for name, maps in layer.items()} == {
        "rgb": (1, width, *masked.grid),
        "depth": (1, width, *masked.grid),
    }
    assert masked.config["grid"] == list(masked.grid)
