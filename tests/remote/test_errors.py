"""Errors of URLs: class, URL and cure."""

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


def test_a_missing_bucket_raises_before_any_work(capsys, s3_server):
    said = failure(capsys, "build", "--out", "s3://no-such-bucket/run")
    assert "s3://no-such-bucket/run" in said and "bucket" in said


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


def test_an_unreachable_server(capsys, s3_url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    try:
        said = failure(capsys, "build", "--out", s3_url)
    finally:
        fsspec.filesystem("s3").clear_instance_cache()
    assert s3_url in said and "127.0.0.1:9" in said


def test_a_missing_package_for_a_protocol(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"gs://a/b.*pip install gcsfs"):
        ObjectStore("gs://a/b")


def test_an_unknown_protocol(capsys):
    assert "carrier-pigeon" in failure(capsys, "build", "--out", "carrier-pigeon://coop/run")


def test_a_url_with_other_files(capsys, tmp_path):
    theirs = tmp_path / "mine" / "report" / "thesis.tex"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("x")
    said = failure(capsys, "build", "--out", (tmp_path / "mine").as_uri())
    assert "report/thesis.tex" in said
    assert theirs.read_text() == "x"


def test_no_run_at_a_url(capsys, tmp_path):
    assert main(["info", tmp_path.as_uri()]) == 2
    assert tmp_path.as_uri() in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--root", "--weights", "--warm-start"])
def test_urls_for_local_options_raise(capsys, option, tmp_path):
    said = failure(capsys, "build", "--out", str(tmp_path / "run"), option, "s3://bucket/x")
    assert f"{option} s3://bucket/x" in said


def test_urls_in_place_of_folders_raise(capsys, tmp_path):
    said = failure(capsys, "build", "--out", str(tmp_path / "run"), "--work", str(tmp_path))
    assert "--out" in said
    with pytest.raises(SystemExit):
        main(["image", "photo.jpg", "--out", "s3://bucket/photos"])
    assert "s3://bucket/photos" in capsys.readouterr().err
