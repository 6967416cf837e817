"""Places that a run can be kept at: memory, a folder, and an S3 bucket of a server started here."""

import logging
import uuid

import fsspec
import pytest

BUCKET = "runs"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Working folders lie below tmp_path/cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def s3_server():
    """A real HTTP server that speaks S3 (moto), with one bucket."""
    reason = "s3fs, moto or flask is not installed: pip install -e .[s3-test]"
    pytest.importorskip("s3fs", reason=reason)
    server_module = pytest.importorskip("moto.server", reason=reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server.start()
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        fsspec.filesystem("s3").mkdir(BUCKET)
        yield
        server.stop()


@pytest.fixture(params=["memory", "file", "s3"])
def url(request, tmp_path) -> str:
    """Return the URL of a place where nothing is yet."""
    name = f"run-{uuid.uuid4().hex[:8]}"
    if request.param == "s3":
        request.getfixturevalue("s3_server")
        return f"s3://{BUCKET}/{name}"
    return f"memory://{name}" if request.param == "memory" else (tmp_path / "far" / name).as_uri()


@pytest.fixture
def s3_url(s3_server) -> str:
    return f"s3://{BUCKET}/run-{uuid.uuid4().hex[:8]}"
