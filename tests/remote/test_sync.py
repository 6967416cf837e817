"""A folder and a URL brought to the same state."""

import json
import shutil
from unittest.mock import patch

import pytest
from crashing import Crash, crash_after
from far import FILES, compute, files_of, objects, put, states, take_away

from spectral_graph.config import STAGES
from spectral_graph.errors import FormatError, StaleRunError
from spectral_graph.progress import Reporter
from spectral_graph.remote.published import Published
from spectral_graph.remote.store import ObjectStore
from spectral_graph.remote.sync import RunSync

QUIET = Reporter(quiet=True)
ALL = {path for paths in FILES.values() for path in paths}


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


@pytest.fixture
def far(tmp_path):
    """A URL for tests of the order of calls, which is the same for all protocols."""
    return (tmp_path / "far").as_uri()


def push(url, work):
    RunSync(url, work, QUIET).push()


def pull(url, work, until="report", force=None):
    RunSync(url, work, QUIET).pull(until, force)


def readable(url, without=()):
    """Check that every file of the stages that are complete at a URL is there and whole; return these stages."""
    there, lying = Published.read(ObjectStore(url)), objects(url)
    for path, entry in there.files.items():
        assert len(lying[path]) == entry.size
    complete = [name for name, record in there.manifest["stages"].items() if record["state"] == "complete"]
    assert {path for name in complete for path in FILES[name]} - set(without) <= there.files.keys()
    return complete


def without_lists(files):
    return {path: data for path, data in files.items() if path not in ("run.json", "files.json")}


def test_published_files_equal_local_files(url, work):
    for before, count in ((0, 1), (1, 2), (2, 7)):
        compute(work, *STAGES[before:count])
        push(url, work)
        assert without_lists(objects(url)) == without_lists(files_of(work))
        assert states(url) == ["complete"] * count + ["open"] * (7 - count)
    assert readable(url) == list(STAGES)


def test_nothing_is_sent_twice(url, work):
    compute(work, *STAGES[:4])
    push(url, work)
    compute(work, "segment", "evaluate")
    with patch.object(ObjectStore, "upload", autospec=True, side_effect=ObjectStore.upload) as upload:
        push(url, work)
        assert sorted(call.args[2] for call in upload.call_args_list) == ["metrics.json", "regions.zarr/zarr.json"]
        push(url, work)
        assert upload.call_count == 2


@pytest.mark.parametrize(
    ("published", "until", "force", "fetched"),
    [
        ("extract", "graph", None, {"extract"}),
        ("graph", "solve", None, {"images.json", "graph"}),
        ("solve", "orthogonalise", None, {"images.json", "graph", "solve"}),
        ("report", "report", None, set()),
        ("report", "graph", "graph", {"extract"}),
        ("report", "extract", "extract", set()),
        (
            "segment",
            "report",
            None,
            {
                *("images.json", "features.zarr/zarr.json", "features.zarr/final/c/0", "vv/graph.zarr/zarr.json"),
                *("solve", "orthogonalise", "segment"),
            },
        ),
    ],
)
def test_only_what_a_stage_reads_is_fetched(far, work, tmp_path, published, until, force, fetched):
    compute(work, *STAGES[: STAGES.index(published) + 1])
    push(far, work)
    pull(far, tmp_path / "new", until, force)
    here = without_lists(files_of(tmp_path / "new"))
    assert here.keys() == {path for name in fetched for path in FILES.get(name, [name])}
    assert here.items() <= objects(far).items()
    manifest = json.loads((tmp_path / "new" / "run.json").read_text())
    assert [manifest["stages"][name]["state"] for name in STAGES] == states(far)


def test_resuming_elsewhere_keeps_files_that_were_not_fetched(url, work, tmp_path):
    new = tmp_path / "new"
    compute(work, *STAGES[:3])
    push(url, work)
    pull(url, new)
    compute(new, *STAGES[3:])
    push(url, new)
    assert objects(url).keys() == ALL | {"run.json", "files.json"}
    assert readable(url) == list(STAGES)
    # What is behind takes over what is there.
    pull(url, work)
    compute(work, "report", content="second")
    push(url, work)
    assert objects(url)["report/index.html"] == b"report/index.html second"
    assert objects(url)["vv/ortho/X.1.f32"] == b"vv/ortho/X.1.f32 first"


def test_force_replaces_and_removes(url, work):
    compute(work, *STAGES)
    push(url, work)
    put(url, "notes.txt", b"not ours")
    gone = "vv/graph.zarr/blocks/a/1"
    compute(work, "graph", "solve", content="second", leave_out=[gone])
    push(url, work)
    found = objects(url)
    assert found.pop("notes.txt") == b"not ours"
    assert without_lists(found) == without_lists(files_of(work))
    assert gone not in found and readable(url, [gone]) == ["extract", "graph", "solve"]


def crashes(url, work, owner, name):
    """Push again and again, each time let one call more through; yield after each crash."""
    for calls in range(100):
        try:
            with crash_after(owner, name, calls):
                push(url, work)
        except Crash:
            yield calls
        else:
            return


@pytest.mark.parametrize("name", ["upload", "write", "delete"])
def test_a_killed_writer_leaves_the_former_state(url, work, name):
    compute(work, "extract", "graph")
    push(url, work)
    before = objects(url)
    compute(work, "solve", "orthogonalise")
    for _ in crashes(url, work, ObjectStore, name):
        assert readable(url) == ["extract", "graph"]
        assert all(objects(url)[path] == before[path] for name in ("extract", "graph") for path in FILES[name])
    assert readable(url) == list(STAGES[:4])
    gone = "vv/graph.zarr/blocks/a/1"
    compute(work, "graph", content="second", leave_out=[gone])
    met = 0
    for _ in crashes(url, work, ObjectStore, name):
        assert readable(url) in (list(STAGES[:4]), ["extract"])
        met += 1
    assert met >= (1 if name == "delete" else 2)
    assert readable(url, [gone]) == ["extract", "graph"]
    assert without_lists(objects(url)) == without_lists(files_of(work))


def test_an_interrupted_upload_resumes(url, work):
    compute(work, *STAGES)
    with crash_after(ObjectStore, "upload", 7), pytest.raises(Crash):
        push(url, work)
    assert readable(url) == []
    with patch.object(ObjectStore, "upload", autospec=True, side_effect=ObjectStore.upload) as upload:
        push(url, work)
    assert upload.call_count == len(ALL) - 7
    assert readable(url) == list(STAGES)


def test_an_interrupted_download_resumes(url, work, tmp_path):
    compute(work, "extract", "graph")
    push(url, work)
    new = tmp_path / "new"
    with crash_after(ObjectStore, "download", 2), pytest.raises(Crash):
        pull(url, new, "graph", "graph")
    assert not (new / "run.json").exists()
    with patch.object(ObjectStore, "download", autospec=True, side_effect=ObjectStore.download) as download:
        pull(url, new, "graph", "graph")
    assert download.call_count == len(FILES["extract"]) - 2
    assert without_lists(files_of(new)).keys() == set(FILES["extract"])


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_objects_raise_unless_force_recomputes_them(url, work, tmp_path, damage):
    compute(work, *STAGES[:3])
    push(url, work)
    sound = objects(url)["vv/bank/X.1.f32"]
    if damage == "remove":
        take_away(url, "vv/bank/X.1.f32")
    else:
        put(url, "vv/bank/X.1.f32", bytes([sound[0] ^ 1]) + sound[1:] if damage == "flip" else sound[:5])
    words = {"flip": "its checksum differs", "truncate": f"has 5 bytes, expected {len(sound)}", "remove": "is missing"}
    new = tmp_path / "new"
    with pytest.raises(FormatError, match=f"{url}/vv/bank/X.1.f32.*{words[damage]}.*recompute with `force=solve`"):
        pull(url, new)
    assert not (new / "vv" / "bank" / "X.1.f32").exists()
    pull(url, new, "report", "solve")
    if damage != "flip":  # the next push repairs a wrong size
        push(url, work)
        assert objects(url)["vv/bank/X.1.f32"] == sound


def test_damaged_run_json_and_files_json_raise_format_error(far, work):
    compute(work, "extract")
    push(far, work)
    sound = objects(far)
    cases = {
        "run.json": [sound["run.json"][:-9], b"[]", sound["run.json"].replace(b'"seconds": ', b'"seconds": 1')],
        "files.json": [sound["files.json"][:-9], b"[]", sound["files.json"].replace(b"images", b"imagex")],
    }
    for name, damaged in cases.items():
        for data in damaged:
            put(far, name, data)
            with pytest.raises(FormatError, match=rf"{far}/{name} is damaged"):
                Published.read(ObjectStore(far))
        put(far, name, sound[name])
    put(far, "run.json", sound["run.json"].replace(b'"format": 1', b'"format": 7'))
    with pytest.raises(FormatError, match="format 7"):
        Published.read(ObjectStore(far))
    take_away(far, "files.json")
    with pytest.raises(FormatError, match=r"files\.json"):
        Published.read(ObjectStore(far))


def test_changes_on_both_sides_raise(url, work, tmp_path):
    compute(work, *STAGES[:2])
    push(url, work)
    other = tmp_path / "other"
    shutil.copytree(work, other)
    compute(work, "solve")
    push(url, work)
    compute(other, "graph", content="mine")
    with pytest.raises(StaleRunError, match="other"):
        pull(url, other)
    with pytest.raises(StaleRunError, match="other"):
        push(url, other)
    compute(other, "extract")
    with pytest.raises(StaleRunError, match="other"):
        pull(url, other)
    shutil.rmtree(other)
    pull(url, other)


def test_a_change_between_pull_and_push_raises(url, work, tmp_path):
    compute(work, "extract")
    push(url, work)
    other = tmp_path / "other"
    pull(url, other)
    compute(work, "extract", content="second")
    push(url, work)
    with pytest.raises(StaleRunError, match=url):
        push(url, other)


def test_a_killed_force_is_not_undone_by_pull(url, work):
    compute(work, *STAGES[:3])
    push(url, work)
    compute(work, "graph", content="second")
    manifest = json.loads((work / "run.json").read_text())
    manifest["stages"]["graph"] = {"state": "running"}
    (work / "run.json").write_text(json.dumps(manifest))
    pull(url, work)
    assert json.loads((work / "run.json").read_text()) == manifest
    assert readable(url) == list(STAGES[:3])


def test_a_state_from_elsewhere_replaces_files_of_the_same_size(url, work, tmp_path):
    compute(work, *STAGES[:3], content="aaaa")
    push(url, work)
    other = tmp_path / "other"
    pull(url, other, "report")
    compute(work, "graph", "solve", content="bbbb")
    push(url, work)
    (other / "vv" / "graph.zarr" / ".work").mkdir()
    pull(url, other, "orthogonalise")
    assert (other / "vv" / "graph.zarr" / "blocks" / "a" / "0").read_text().endswith("bbbb")
    assert (other / "vv" / "bank" / "X.1.f32").read_text().endswith("bbbb")
    assert not (other / "vv" / "graph.zarr" / ".work").exists()


def test_a_truncated_line_of_the_sync_state_costs_one_file(url, work):
    compute(work, "extract", "graph")
    push(url, work)
    lines = work / ".remote.jsonl"
    lines.write_text(lines.read_text()[:-9])
    compute(work, "solve")
    push(url, work)
    assert len([json.loads(line) for line in lines.read_text().splitlines() if line.endswith("]")]) >= 8
    assert readable(url) == list(STAGES[:3])
