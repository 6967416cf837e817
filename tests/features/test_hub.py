"""Fetching from a local hub that works, refuses, is silent or absent."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from spectral_graph.errors import WeightsError
from spectral_graph.features import hub, load_model

constants = pytest.importorskip("huggingface_hub.constants")
timm = pytest.importorskip("timm")

NAME = "vit_tiny_patch16_224.augreg_in21k"
REPOSITORY = "timm/vit_tiny_patch16_224.augreg_in21k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves the files in `files` as a hub repository does."""

    files: dict[str, bytes]

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        content = self.answer()
        if content is not None:
            self.wfile.write(content)

    def answer(self) -> bytes | None:
        content = self.files.get(self.path)
        self.send_response(200 if content is not None or self.path == "/" else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        if content is None:
            known = any(path.startswith(self.path.rpartition("/")[0]) for path in self.files)
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
        else:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, type[Hub]]]:
    """A working hub with no files, and an empty local cache."""
    handler = type("OneHub", (Hub,), {"files": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point_to(monkeypatch, tmp_path, server.server_address[1])
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()


def point_to(monkeypatch: pytest.MonkeyPatch, cache: Path, port: int) -> None:
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_a_model_from_the_hub_then_from_the_cache(
    endpoint: tuple[str, type[Hub]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    original = timm.create_model(NAME, dynamic_img_size=True).eval()
    torch.save(original.state_dict(), tmp_path / "weights.bin")
    content = (tmp_path / "weights.bin").read_bytes()
    # Only the second of the usual names is there.
    endpoint[1].files[f"/{REPOSITORY}/resolve/main/pytorch_model.bin"] = content
    model = load_model(NAME)
    assert model.weights.sha256 == hashlib.sha256(content).hexdigest()
    assert model.weights.revision == COMMIT
    assert model.weights.source == f"{REPOSITORY} on the Hugging Face hub"
    pixels = torch.full((1, 32, 32, 3), 70, dtype=torch.uint8)
    with torch.inference_mode():
        expected = original.forward_features(((pixels / 255 - 0.5) / 0.5).permute(0, 3, 1, 2))[:, 1:]
    torch.testing.assert_close(model.extract(pixels, (), ()).final, expected, rtol=1e-5, atol=1e-5)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_model(NAME).weights == model.weights


def test_a_repository_that_does_not_exist(endpoint: tuple[str, type[Hub]]) -> None:
    with pytest.raises(WeightsError, match=r"timm/absent.*`weights=FILE`.*`model=focus_vits14`"):
        hub.fetch("absent", "timm/absent")


def test_a_repository_without_weights(endpoint: tuple[str, type[Hub]]) -> None:
    endpoint[1].files["/timm/bare/resolve/main/README.md"] = b"nothing here"
    with pytest.raises(WeightsError, match=r"bare.*model\.safetensors"):
        hub.fetch("bare", "timm/bare")


def test_a_named_file_and_revision(endpoint: tuple[str, type[Hub]]) -> None:
    endpoint[1].files["/some/one/resolve/v2/special.bin"] = b"bytes"
    assert hub.fetch("one", "some/one@v2", "special.bin").read_bytes() == b"bytes"


def test_no_hub_gives_up_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        point_to(monkeypatch, tmp_path, unused.getsockname()[1])
    begin = time.monotonic()
    with pytest.raises(WeightsError, match=r"http://127.0.0.1.*`weights=FILE`.*`model=focus_vits14`"):
        load_model(NAME)
    assert time.monotonic() - begin < 10


def test_a_silent_hub_gives_up_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_to(monkeypatch, tmp_path, silent.getsockname()[1])
        begin = time.monotonic()
        with pytest.raises(WeightsError, match=r"http://127.0.0.1"):
            hub.fetch(NAME, REPOSITORY)
        assert time.monotonic() - begin < 10


def test_offline_mode_is_respected(endpoint: tuple[str, type[Hub]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE"):
        load_model(NAME)


def test_missing_client_raises_with_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match="pip install huggingface_hub"):
        hub.fetch(NAME, REPOSITORY)


def test_weights_that_are_not_on_the_hub() -> None:
    with pytest.raises(WeightsError, match=r"https://.*`weights=FILE`"):
        load_model("vit_huge_patch14_gap_224.in1k_ijepa")
