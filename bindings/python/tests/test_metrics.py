"""Scores against NumPy, and against the program."""

import json

import numpy as np
import pytest
from conftest import run

import multimae
from multimae import metrics

RANDOM = np.random.default_rng(0)


def test_depth_scores():
    target = RANDOM.uniform(1, 5, (3, 12, 16)).astype(np.float32)
    prediction = (target * RANDOM.uniform(0.8, 1.3, target.shape)).astype(np.float32)
    target[0, 0, 0] = np.nan
    valid = RANDOM.random(target.shape) > 0.2
    counted = valid & ~np.isnan(target)
    scorer = metrics.depth()
    scorer.update(prediction[0], target[0], valid[0])
    scorer.update(prediction[1:], target[1:], valid=valid[1:])
    assert len(scorer) == 3
    scores = scorer.compute()
    p, t = prediction[counted].astype(np.float64), target[counted].astype(np.float64)
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean((p - t) ** 2)), rel=1e-6)
    assert scores["rel"] == pytest.approx(np.mean(np.abs(p - t) / t), rel=1e-6)
    assert scores["delta_1"] == pytest.approx(np.mean(np.maximum(p / t, t / p) < 1.25), abs=1e-6)
    assert isinstance(scorer.details(), dict)
    scorer.reset()
    assert len(scorer) == 0
    with pytest.raises(multimae.Error, match="valid depth"):
        scorer.compute()


def test_label_scores():
    target, prediction = (RANDOM.integers(0, 4, (2, 10, 10)) for _ in range(2))
    target[0, 0] = 255
    scorer = metrics.labels(4)
    scorer.update(prediction, target)
    counted = target != 255
    p, t = prediction[counted], target[counted]
    ious = [np.sum((p == c) & (t == c)) / np.sum((p == c) | (t == c)) for c in range(4)]
    scores = scorer.compute()
    assert scores["miou"] == pytest.approx(np.mean(ious), rel=1e-6)
    assert scores["pixel_acc"] == pytest.approx(np.mean(p == t), rel=1e-6)
    shifted = metrics.labels(4, offset=-1)
    shifted.update(prediction + 1, np.where(counted, target + 1, 255))
    assert shifted.compute() == scores
    with pytest.raises(multimae.Error, match="label 9 is no class"):
        scorer.update(prediction, np.full_like(target, 9))


def test_scores_of_normals_and_values():
    target = RANDOM.normal(size=(3, 8, 8)).astype(np.float32)
    target /= np.linalg.norm(target, axis=0)
    scorer = metrics.normals()
    scorer.update(target, target)
    assert scorer.compute()["mean_angle"] == pytest.approx(0, abs=0.1)
    scorer = metrics.values(3)
    scorer.update(target + 0.5, target)
    assert scorer.compute() == pytest.approx({"mae": 0.5, "rmse": 0.5}, rel=1e-5)


def test_protocols_are_named():
    assert {"depth", "nyuv2-depth", "semseg", "normals"} <= metrics.protocols().keys()
    with pytest.raises(multimae.Error, match="no protocol `nyu`"):
        metrics.depth("nyu")
    with pytest.raises(multimae.Error, match="does not score tasks of kind `depth`"):
        metrics.depth("semseg")
    with pytest.raises(multimae.Error, match="prediction"):
        metrics.depth().update(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float32))
    with pytest.raises(multimae.Error, match="pixels"):
        metrics.depth().update(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32))


def test_scores_of_a_model_are_those_of_the_program(program, rooms, tuned, tmp_path):
    scores = tmp_path / "scores.json"
    data = ["--data", rooms, "--split", "val"]
    run(program, "evaluate", "--model", tuned, *data, "--json", scores)
    text = json.dumps(json.loads(scores.read_text()))
    model = multimae.load(tuned)
    depth, semseg = model.scorer("depth"), model.scorer("semseg")
    for sample in multimae.Dataset(rooms, split="val"):
        prediction = model.predict({"rgb": sample["rgb"]})
        depth.update(prediction["depth"], sample["depth"])
        semseg.update(prediction["semseg"], sample["label40"])
    for scorer, name in ((depth, "rmse"), (semseg, "miou")):
        assert str(scorer.compute()[name]) in text
