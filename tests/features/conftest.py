"""One thread for these small tensors, and a small Stable Diffusion."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def small_tensors(one_thread: None) -> None:
    """All tests of this folder."""


@pytest.fixture(scope="module")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 1.4 with few channels, as diffusers saves it."""
    pytest.importorskip("diffusers")
    import small_diffusion as small

    return small.save_stable_diffusion(tmp_path_factory.mktemp("diffusion") / "sd14")


@pytest.fixture(scope="module")
def sd14(sd_folder: Path) -> object:
    """That model, loaded."""
    from spectral_graph.features import load_model
    from spectral_graph.features.diffusion import DiffusionFeatures

    model = load_model("sd14", sd_folder)
    assert isinstance(model, DiffusionFeatures)
    return model


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 128, 128, 3), dtype=torch.uint8, generator=generator)
