"""Rooms and two tiny models, made once by the program `multimae`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parents[3] / "recipes"
SHORT = ["--set", "epochs=1", "--set", "warmup_epochs=0"]


def run(program, *arguments):
    """Runs the program and returns its standard output."""
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def program():
    """The program, or a skip that says what to do."""
    found = os.environ.get("MULTIMAE") or shutil.which("multimae")
    if not found:
        pytest.skip("the program multimae is missing: set MULTIMAE or put it on the PATH")
    return os.path.abspath(found)


@pytest.fixture(scope="session")
def rooms(program, tmp_path_factory):
    """A folder of twelve rooms of 96x128 pixels."""
    folder = tmp_path_factory.mktemp("data") / "rooms"
    run(program, "synth", "--out", folder, "--count", 12, "--size", "128x96")
    return folder


def trained(program, command, recipe, rooms, folder):
    run(program, command, "--config", recipe, "--data", rooms, "--out", folder, *SHORT)
    return folder


@pytest.fixture(scope="session")
def tuned(program, rooms, tmp_path_factory):
    """A run that tuned a tiny model for depth and labels from RGB."""
    folder = tmp_path_factory.mktemp("runs") / "tuned"
    return trained(program, "finetune", RECIPES / "finetune/rooms_tiny.yaml", rooms, folder)


@pytest.fixture(scope="session")
def tuned_by_task(program, rooms, tmp_path_factory):
    """A run with prompts of each task from block 1 on, made of the patches of the image."""
    folder = tmp_path_factory.mktemp("runs") / "tuned-by-task"
    recipe = RECIPES / "finetune/rooms_tiny.yaml"
    options = ["--set", "tuning=prompts", "--set", "prompts={kind: evp, rank: 4}"]
    options += ["--set", "branch_at=1"]
    run(program, "finetune", "--config", recipe, "--data", rooms, "--out", folder, *SHORT, *options)
    return folder


@pytest.fixture(scope="session")
def tuned_on_depth(program, rooms, tmp_path_factory):
    """A run that tuned a tiny model from RGB and depth."""
    folder = tmp_path_factory.mktemp("runs") / "tuned-depth"
    recipe = RECIPES / "finetune/rooms_tiny.yaml"
    options = ["--set", "in_domains=rgb-depth", "--set", "out_domains=semseg"]
    run(program, "finetune", "--config", recipe, "--data", rooms, "--out", folder, *SHORT, *options)
    return folder


@pytest.fixture(scope="session")
def pretrained(program, rooms, tmp_path_factory):
    """A pre-training run of a tiny model."""
    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    return trained(program, "pretrain", RECIPES / "pretrain/rooms_tiny.yaml", rooms, folder)
