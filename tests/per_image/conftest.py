"""One thread for these small tensors: waiting for a second one costs more than it saves on a busy machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
