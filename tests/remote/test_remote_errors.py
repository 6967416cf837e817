"""What goes wrong between here and a URL is said in words."""

import os
import sys
import urllib.request

import fsspec
import pytest

from spectral_graph.cli.commands import main
from spectral_graph.errors import ConfigError
from spectral_graph.remote.store import ObjectStore


def failure(capsys, *arguments):
    assert main([*arguments, "--quiet"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ")
    return said[-1]


def test_a_missing_bucket_is_met_before_any_work(capsys, s3_server):
    said = failure(capsys, "build", "--out", "s3://no-such-bucket/run")
    assert "s3://no-such-bucket/run" in said and "create the bucket" in said


def let_in(requests: str):
    """Tell the server how many more requests it lets in whoever asks."""
    address = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    kind = {"Content-Type": "application/octet-stream"}
    urllib.request.urlopen(urllib.request.Request(address, requests.encode(), kind, method="POST")).close()


def test_refused_credentials(capsys, s3_url):
    let_in("0")
    try:
        said = failure(capsys, "build", "--out", s3_url)
    finally:
        let_in("inf")
    assert s3_url in said and "use credentials" in said


def test_nobody_answers(capsys, s3_url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    try:
        said = failure(capsys, "build", "--out", s3_url)
    finally:
        fsspec.filesystem("s3").clear_instance_cache()
    assert s3_url in said and "127.0.0.1:9" in said


def test_the_package_for_a_protocol_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"gs://a/b: the package for gs:// is not installed; pip install gcsfs"):
        ObjectStore("gs://a/b")


def test_an_unknown_protocol(capsys):
    assert "use a protocol that fsspec knows" in failure(capsys, "build", "--out", "carrier-pigeon://coop/run")


def test_a_place_that_holds_something_else(capsys, tmp_path):
    theirs = tmp_path / "mine" / "report" / "thesis.tex"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("x")
    said = failure(capsys, "build", "--out", (tmp_path / "mine").as_uri())
    assert "is not empty and holds no run (found report/thesis.tex)" in said
    assert theirs.read_text() == "x"


def test_no_run_at_a_url(capsys, tmp_path):
    assert main(["info", tmp_path.as_uri()]) == 2
    assert "holds no run" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--root", "--weights", "--warm-start"])
def test_only_runs_are_kept_behind_urls(capsys, option, tmp_path):
    said = failure(capsys, "build", "--out", str(tmp_path / "run"), option, "s3://bucket/x")
    assert f"{option} s3://bucket/x: this is a URL" in said and "copy it to a local disk" in said


def test_urls_where_only_folders_can_be_used(capsys, tmp_path):
    said = failure(capsys, "build", "--out", str(tmp_path / "run"), "--work", str(tmp_path))
    assert "a working folder is for runs that --out or RUN names by a URL" in said
    with pytest.raises(SystemExit):
        main(["image", "photo.jpg", "--out", "s3://bucket/photos"])
    assert "s3://bucket/photos is a URL; name a local folder" in capsys.readouterr().err
