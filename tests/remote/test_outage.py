"""A store that fails for a while, fills up, or loses bytes: calls are retried or raise, and the next call resumes."""

import logging
import threading
import time

import fsspec
import pytest
from far import FILES, compute, files_of, objects, put, states
from unreliable import FULL, REFUSED, Unreliable

from spectral_graph.config import STAGES
from spectral_graph.errors import DiskFullError, RemoteError
from spectral_graph.progress import Reporter
from spectral_graph.remote import store as store_module
from spectral_graph.remote.store import ObjectStore
from spectral_graph.remote.sync import RunSync

QUIET = Reporter(quiet=True)
URL = "unreliable://place/run"
ALL = [path for paths in FILES.values() for path in paths]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    Unreliable.reset()
    monkeypatch.setattr(store_module, "_FIRST_PAUSE", 0.01)


@pytest.fixture
def work(tmp_path):
    compute(tmp_path / "work", *STAGES)
    return tmp_path / "work"


def push(work, url=URL):
    RunSync(url, work, QUIET).push()


def published(work, url=URL):
    """Return whether all of a complete run is at a URL."""
    Unreliable.failures.clear()
    found = objects(url)
    here = files_of(work)
    return states(url) == ["complete"] * 7 and all(found[path] == here[path] for path in ALL)


@pytest.mark.parametrize(
    ("operation", "after"),
    [("write", 0), ("write", 1), ("write", 2), ("write", 3), ("list", 0), ("upload", 0), ("upload", 5)],
)
def test_a_short_outage_while_publishing_is_retried(work, operation, after):
    Unreliable.failures.append((operation, after, 4, REFUSED))
    push(work)
    assert Unreliable.calls[operation] > after + 4
    assert published(work)


def test_a_short_outage_while_fetching_is_retried(work, tmp_path):
    push(work)
    Unreliable.failures.append(("download", 2, 3, TimeoutError("timed out")))
    RunSync(URL, tmp_path / "new", QUIET).pull("report", "graph")
    assert (tmp_path / "new" / "features.zarr" / "layers" / "a" / "c" / "0").is_file()


def test_a_long_outage_raises_and_the_next_call_resumes(work, monkeypatch):
    monkeypatch.setattr(store_module, "PATIENCE", 0.1)
    monkeypatch.setattr("spectral_graph.remote.store.WORKERS", 1)
    Unreliable.failures.append(("upload", 6, 1000, REFUSED))
    with pytest.raises(RemoteError, match=rf"{URL}/\S+: .*Connection refused"):
        push(work)
    assert states(URL) == ["open"] * 7
    Unreliable.failures.clear()
    Unreliable.calls.clear()
    push(work)
    assert Unreliable.calls["upload"] == len(ALL) - 6
    assert published(work)


def test_a_store_that_never_answered_is_not_retried(work):
    Unreliable.failures.append(("read", 0, 1000, REFUSED))
    with pytest.raises(RemoteError, match="Connection refused"):
        push(work)
    assert Unreliable.calls["read"] == 1


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (PermissionError("denied"), "credentials"),
        (FULL, "free some space"),
    ],
)
def test_lasting_errors_are_not_retried(work, error, cure, monkeypatch):
    monkeypatch.setattr("spectral_graph.remote.store.WORKERS", 1)
    Unreliable.failures.append(("upload", 5, 1, error))
    with pytest.raises(RemoteError, match=cure):
        push(work)
    assert states(URL) == ["open"] * 7
    push(work)
    assert published(work)


def test_a_disk_that_fills_while_fetching_raises_disk_full_error(work, tmp_path):
    push(work)
    Unreliable.failures.append(("download", 2, 1, FULL))
    with pytest.raises(DiskFullError, match=rf"{tmp_path}/new/"):
        RunSync(URL, tmp_path / "new", QUIET).pull("report", "graph")
    assert not (tmp_path / "new" / "run.json").exists()
    RunSync(URL, tmp_path / "new", QUIET).pull("report", "graph")
    assert not list((tmp_path / "new").rglob("*.partial"))


def test_bytes_that_a_store_loses_are_found_before_publishing(work):
    Unreliable.lose = 1
    with pytest.raises(RemoteError, match=rf"{URL}/\S+"):
        push(work)
    assert states(URL) == ["open"] * 7
    Unreliable.lose = 0
    push(work)
    assert published(work)


@pytest.mark.parametrize("left", [".writable", "files.json", "run.json.partial", "files.json.partial"])
def test_leftovers_of_a_kill_at_an_empty_url_are_accepted(url, work, left):
    put(url, left, b"")
    sync = RunSync(url, work, QUIET)
    sync.pull("report")
    sync.push()
    assert published(work, url)


def test_deleting_missing_objects_is_no_error(url):
    store = ObjectStore(url)
    for name in ("a", "b"):
        store.write(name, b"x")
    store.delete(["a"])
    store.delete(["a", "b", "c"])
    assert store.sizes() == {}


def test_a_server_that_is_down_for_two_seconds(s3_url, work):
    """The server answers, goes, and comes back at its port with its objects, as one that is restarted."""
    server_module = pytest.importorskip("moto.server")
    second = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    second.start()
    host, port = second.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        fsspec.filesystem("s3").clear_instance_cache()
        try:
            sync = RunSync(s3_url, work, QUIET)
            sync.pull("report")
            second.stop()
            third = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
            back = threading.Timer(2, third.start)
            back.start()
            began = time.monotonic()
            sync.push()
            assert time.monotonic() - began > 1.5
            assert published(work, s3_url)
            third.stop()
        finally:
            fsspec.filesystem("s3").clear_instance_cache()
