"""A whole run that is kept behind a URL, through the command line."""

import json
import shutil
from importlib.util import find_spec

import pytest
from far import files_of, objects, states

from spectral_graph.cli.commands import main
from spectral_graph.io.url import work_folder


def call(capsys, options, url, *more, command="build"):
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    place = ["--out", str(url)] if command == "build" else [str(url)]
    assert main([command, *place, *flags, *more]) == 0
    return capsys.readouterr().err


def results(files):
    """What does not depend on the clock or on how the program was called."""
    left_out = ("run.json", "files.json", "report/")
    return {path: data for path, data in files.items() if not path.startswith(left_out)}


def timeless(text):
    """What `info --json` tells without what differs between two runs of one input."""
    run = json.loads(text)["run"]
    stages = [(record["stage"], record["state"]) for record in run["stages"]]
    return {**run, "stages": stages, "command": None, "created": None}


PLACE = "s3" if find_spec("s3fs") and find_spec("moto") and find_spec("flask") else "file"


@pytest.mark.parametrize("url", [PLACE], indirect=True)
def test_a_run_at_a_url_equals_the_local_run_and_resumes_elsewhere(capsys, options, url, cache, tmp_path):
    options |= {"kinds": "vv", "kmeans_seeds": "0", "gallery": "1", "limit": "3", "batch": "2", "rounds": "1"}
    call(capsys, options, tmp_path / "local")
    said = call(capsys, options, url, command="solve")
    assert f"{work_folder(url)}" in said
    assert states(url) == ["complete"] * 3 + ["open"] * 4
    shutil.rmtree(cache)

    said = call(capsys, {}, url, command="report")
    assert f"done: {url}/report/index.html" in said
    assert states(url) == ["complete"] * 7
    assert not (work_folder(url) / "features.zarr" / "layers").exists()
    found, expected = objects(url), files_of(tmp_path / "local")
    assert results(found) == results(expected)
    assert found.keys() == expected.keys() | {"files.json"}

    assert main(["info", url, "--json", "--quiet"]) == 0
    told = capsys.readouterr()
    text = told.out
    assert told.err == "" and json.loads(text)["run"]["report"] == f"{url}/report/index.html"
    assert main(["info", str(tmp_path / "local"), "--json"]) == 0
    assert timeless(text) == timeless(capsys.readouterr().out.replace(str(tmp_path / "local"), url))
