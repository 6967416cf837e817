"""Any damage to run.json, images.json or files.json: the command succeeds, or reports a `SpectralGraphError`.

More examples: `pytest tests/test_fuzz_run_files.py --hypothesis-profile=long`.
"""

import json
import os
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as examples
from hypothesis import strategies as st

from spectral_graph.cli.info import describe
from spectral_graph.cli.listing import info
from spectral_graph.config import make_config
from spectral_graph.errors import SpectralGraphError
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter
from spectral_graph.remote.published import digest
from spectral_graph.remote.sync import RunSync
from spectral_graph.runs.manifest import read_manifest

QUIET = Reporter(quiet=True)
RAW = "raw json: "
"""Begins a text that is written into the JSON as it stands, without quotation marks."""

RAW_TEXTS = ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000]
RAW_TEXTS += ["[" * depth + "]" * depth for depth in (80, 20_000)]
TEXTS = [
    "",
    ".",
    "..",
    "/",
    "../witness",
    "/etc/passwd",
    "vv/bank/../../../witness",
    "a\\b",
    "a\0b",
    "\x1b[2J",
    "\ud800",
]
TEXTS += ["a/b", ".hidden", "a" * 5000, "C:/x", "s3://bucket/x", "vv", "complete", "extract", "0" * 64]
NUMBERS = [-1, 0, 1, 2, 7, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, 10**30, 10**299, -(10**30)]
NUMBERS += [0.5, -0.5, 1e300, 1e-300]

HOSTILE = st.one_of(
    st.sampled_from([None, True, False, [], {}, [[]], [{}], {"": 1}, [1, 2], ["a", "a"]]),
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from([RAW + text for text in RAW_TEXTS]),
    st.text("aZ0 ./\\é\u2028", max_size=8),
    st.integers(-(2**70), 2**70),
)
ENDLESS = {"kmeans_init", "kmeans_rows"}
"""Options that any large number is good for; it takes the time that was asked for."""


def places(value, at=()):
    """Yield the way to each node of a JSON value."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*at, key))


def look(value, way):
    for key in way:
        value = value[key]
    return value


def put(value, way, new):
    """Return the value with one node replaced."""
    if not way:
        return new
    look(value, way[:-1])[way[-1]] = new
    return value


@st.composite
def damaged(draw, whole):
    """Bytes of a JSON file that somebody damaged in one or two places."""
    value = deepcopy(whole)
    for _ in range(draw(st.integers(1, 2))):
        ways = [way for way in places(value) if not ENDLESS & set(way)]
        way = draw(st.sampled_from(ways))
        act = draw(st.sampled_from(["replace", "replace", "replace", "drop", "swap", "rename", "repeat"]))
        if act == "replace" or not way:
            value = put(value, way, draw(HOSTILE))
        elif act == "drop":
            del look(value, way[:-1])[way[-1]]
        elif act == "swap":
            other = draw(st.sampled_from(ways))
            first, second = deepcopy(look(value, way)), deepcopy(look(value, other))
            value = put(value, way, second)
            if other in set(places(value)):
                value = put(value, other, first)
        elif isinstance(way[-1], str):
            parent = look(value, way[:-1])
            parent[draw(st.sampled_from(TEXTS))] = deepcopy(parent[way[-1]]) if act == "repeat" else parent.pop(way[-1])
        else:
            look(value, way[:-1]).append(deepcopy(look(value, way)))
        if not isinstance(value, (dict, list)):
            break
    text = json.dumps(value)
    for raw in RAW_TEXTS:
        text = text.replace(json.dumps(RAW + raw), raw)
    data = text.encode()
    cut = draw(st.sampled_from(["", "", "", "", "short", "byte", "mark"]))
    if cut == "short":
        return data[: draw(st.integers(0, len(data)))]
    if cut == "byte":
        at = draw(st.integers(0, len(data)))
        return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
    return b"\xef\xbb\xbf" + data if cut == "mark" else data


@pytest.fixture(scope="session")
def run(tmp_path_factory, small_run_options) -> Path:
    """A small complete run."""
    config = make_config(small_run_options)
    out = tmp_path_factory.mktemp("fuzz") / "run"
    return run_pipeline(config, out, given=config.model_dump(mode="json"), reporter=QUIET)


@pytest.fixture(scope="session")
def published(run, tmp_path_factory) -> Path:
    """The folder behind the file:// URL of the run."""
    there = tmp_path_factory.mktemp("far") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        RunSync(there.as_uri(), run, QUIET).push()
    return there


def copy_of(folder: Path, name: str, place: Path) -> Path:
    """Copy a folder by links, but one file that will be damaged; beside it a file that is nobody's business."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place / "run", copy_function=os.link, ignore=shutil.ignore_patterns(".lock", ".remote*"))
    (place / "run" / name).unlink()
    (place / "witness").write_bytes(b"mine")
    return place / "run"


def words_or_success(call) -> None:
    """Call; errors of this package are as good as success."""
    try:
        call()
    except SpectralGraphError as error:
        said = str(error)
        assert len(said) < 2000 and said.split()


def resume(run: Path) -> None:
    """What `spectral-graph evaluate RUN --force segment` does."""
    manifest = read_manifest(run)
    config = make_config(manifest["given"], manifest["preset"])
    run_pipeline(config, run, preset=manifest["preset"], until="evaluate", force="segment", reporter=QUIET)


def share(part: float) -> settings:
    """Return settings with this share of the profile's examples."""
    count = max(1, int(part * settings.default.max_examples))
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))


@share(0.6)
@examples(data=st.data(), name=st.sampled_from(["run.json", "images.json"]))
def test_info_of_a_damaged_run(run, tmp_path_factory, data, name):
    place = tmp_path_factory.getbasetemp() / f"info-{name}"
    if not place.exists():
        copy_of(run, name, place)
    (place / "run" / name).write_bytes(data.draw(damaged(json.loads((run / name).read_bytes()))))
    words_or_success(lambda: describe(place / "run"))


@share(0.12)
@examples(data=st.data(), name=st.sampled_from(["run.json", "images.json"]))
def test_going_on_with_a_damaged_run(run, tmp_path_factory, data, name):
    place = tmp_path_factory.getbasetemp() / "resume"
    damaged_run = copy_of(run, name, place)
    (damaged_run / name).write_bytes(data.draw(damaged(json.loads((run / name).read_bytes()))))
    words_or_success(lambda: resume(damaged_run))
    assert (place / "witness").read_bytes() == b"mine"
    assert sorted(path.name for path in place.iterdir()) == ["run", "witness"]


@share(0.4)
@examples(data=st.data(), name=st.sampled_from(["run.json", "files.json", "files.json", "images.json"]))
def test_reading_a_damaged_published_run(published, tmp_path_factory, data, name):
    place = tmp_path_factory.getbasetemp() / "published"
    there = copy_of(published, name, place)
    raw = data.draw(damaged_object(published, name))
    (there / name).write_bytes(raw)
    if name != "files.json":
        listed = json.loads((published / "files.json").read_bytes())
        entry = [len(raw), digest(raw)]
        files = listed["files"] | ({"images.json": entry} if name == "images.json" else {})
        manifests = [digest(raw)] if name == "run.json" else listed["manifests"]
        (there / "files.json").unlink()
        (there / "files.json").write_bytes(sealed({"manifests": manifests, "files": files}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", lambda _: None)
        words_or_success(lambda: info(there.as_uri(), False, False, QUIET))
        for until, force in (("evaluate", "segment"), ("report", None)):
            words_or_success(lambda: RunSync(there.as_uri(), place / "work", QUIET).pull(until, force))  # noqa: B023
    assert (place / "witness").read_bytes() == b"mine"
    assert {path.name for path in place.iterdir()} <= {"run", "work", "witness", ".work.lock"}


def sealed(content) -> bytes:
    """Return files.json with a right checksum, whatever it says."""
    checksum = digest(json.dumps(content, sort_keys=True).encode())
    return json.dumps({"format": 1, **content, "sha256": checksum}).encode()


@st.composite
def damaged_object(draw, published, name):
    """Bytes of a damaged object of a published run; of files.json mostly with a checksum that is right."""
    whole = json.loads((published / name).read_bytes())
    if name != "files.json" or draw(st.integers(0, 4)) == 0:
        return draw(damaged(whole))
    raw = draw(damaged({"manifests": whole["manifests"], "files": whole["files"]}))
    try:
        content = json.loads(raw)
        return sealed(content) if isinstance(content, dict) else raw
    except (ValueError, RecursionError):
        return raw
