"""A small data set of real files and a small real model, for tests of whole runs."""

import gc
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from small_folder import MODEL, write_folder

# The same examples on every run, so that a failure is a change's own; `--hypothesis-profile=default` looks further.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("long", max_examples=3000)
settings.load_profile("repeatable")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread in torch: waiting for a second one costs more than it saves where tensors are small."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def settled_modules() -> None:
    """The modules of a run, no longer looked through by the garbage collector.

    A run collects garbage before every stage. Beside the modules of all the tests that took half of its time.
    """
    for name in ("timm", "matplotlib.pyplot", "spectral_graph.pipeline", "spectral_graph.report.page"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def model_weights(tmp_path_factory, settled_modules) -> Path:
    """Random weights of a small timm transformer, saved as a user would have them."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model(MODEL, pretrained=False).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def small_run_options(tmp_path_factory, model_weights) -> dict:
    """Options of the smallest run that has all of its parts: 3 images, one layer, one affinity."""
    return {
        "dataset": "folder",
        "root": write_folder(tmp_path_factory.mktemp("small") / "photos", 3, 64),
        "model": MODEL,
        "weights": model_weights,
        "layers": "5",
        "size": "64",
        "kinds": "vv",
        "c_intra": 3,
        "c_inter": 3,
        "channels": 4,
        "eigenvectors": 4,
        "kmeans_seeds": "0",
        "kmeans_init": 1,
        "gallery": 1,
        "image_batch": 3,
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_folder(tmp_path / "photos")


@pytest.fixture
def options(folder, model_weights) -> dict:
    """Options of a small, complete run: 7 images, mini-batches of 4 in two rounds, 25 nodes an image."""
    return options_of(folder, model_weights)


@pytest.fixture(scope="module")
def module_options(tmp_path_factory, model_weights) -> dict:
    """Like `options`, for a run that the tests of a module share."""
    return options_of(write_folder(tmp_path_factory.mktemp("module") / "photos"), model_weights)


def options_of(folder: Path, model_weights: Path) -> dict:
    return {
        "dataset": "folder",
        "root": folder,
        "model": MODEL,
        "weights": model_weights,
        "layers": "2,5",
        "size": "80",
        "scope": "batch",
        "hubs": "none",
        "batch": 4,
        "rounds": 2,
        "c_intra": 4,
        "c_inter": 4,
        "channels": 6,
        "eigenvectors": 4,
        "kmeans_seeds": "0,1",
        "kmeans_init": 1,
        "gallery": 2,
        "image_batch": 2,
    }
