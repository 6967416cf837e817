"""Published runs of an untrusted writer: nothing outside of the working folder is read, written or removed."""

import json

import pytest
from far import FILES, compute, files_of, objects, put

from spectral_graph.cli.commands import main
from spectral_graph.cli.listing import info
from spectral_graph.config import STAGES
from spectral_graph.errors import FormatError, SpectralGraphError, UnsafePathError
from spectral_graph.progress import Reporter
from spectral_graph.remote.published import Entry, Published, decode_index, digest, encode_index, fetch
from spectral_graph.remote.store import ObjectStore
from spectral_graph.remote.sync import RunSync

QUIET = Reporter(quiet=True)
EVIL = b"evil"
PATHS = [
    "vv/bank/../../../witness",
    "vv/bank/../../../../witness",
    "features.zarr/../../witness",
    "features.zarr/..",
    "report/../.lock",
    "/witness",
    "//witness",
    "",
    "/",
    ".",
    "..",
    "../witness",
    "vv//bank/x",
    "vv/bank/",
    "vv/bank/./x",
    "vv\\..\\witness",
    "C:/witness",
    "vv/bank/a\0b",
    "vv/bank/\x1b[2J",
    "vv/bank/" + "a" * 300,
    "vv/bank/" + "a/" * 3000 + "a",
    "vv/bank/\ud800",
    ".lock",
    ".remote.json",
    "features.zarr/.zgroup",
    "vv/graph.zarr/.work/x",
]
TYPES = [None, True, 3, -1, 1.5, 2**63, 10**30, "", "x", [], ["a"], {}, {"a": 1}, [[]], [3, "a" * 64, 1]]


def sealed(manifests, files):
    """files.json with a right checksum, whatever it says."""
    content = {"manifests": manifests, "files": files}
    checksum = digest(json.dumps(content, sort_keys=True).encode())
    return json.dumps({"format": 1, **content, "sha256": checksum}).encode()


@pytest.fixture
def far(tmp_path):
    """A published run of all stages, and beside it a private file."""
    url = (tmp_path / "there" / "far").as_uri()
    compute(tmp_path / "origin", *STAGES)
    RunSync(url, tmp_path / "origin", QUIET).push()
    for folder in (tmp_path, tmp_path / "here", tmp_path / "there"):
        folder.mkdir(exist_ok=True)
        (folder / "witness").write_bytes(b"mine")
    return url


def list_more(url, files, manifest=None):
    """Add files to the list of a published run; its checksums are right."""
    raw = objects(url)["run.json"] if manifest is None else json.dumps(manifest).encode()
    known = dict(Published.read(ObjectStore(url)).files)
    put(url, "run.json", raw)
    put(url, "files.json", sealed([digest(raw)], {path: list(entry) for path, entry in (known | files).items()}))


def everything(folder):
    """All files below a folder but locks: path to content."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name.rpartition(".")[2] != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leads_out_is_refused_before_anything_is_written(far, tmp_path, monkeypatch, path):
    there, new = tmp_path / "here" / "old", tmp_path / "here" / "new"
    compute(there, "extract")
    list_more(far, {path: Entry(len(EVIL), digest(EVIL))})
    monkeypatch.setattr(ObjectStore, "download", lambda *_: pytest.fail("something was fetched"))
    before = everything(tmp_path)
    for work in (there, new):
        for force in (None, "solve"):
            with pytest.raises((UnsafePathError, FormatError)) as error:
                RunSync(far, work, QUIET).pull("report", force)
            assert f"{far}/files.json" in str(error.value)
            assert str(error.value).isprintable()
    with pytest.raises((UnsafePathError, FormatError), match=r"files\.json"):
        RunSync(far, there, QUIET).push()
    with pytest.raises((UnsafePathError, FormatError), match=r"files\.json"):
        info(far, False, False, QUIET)
    assert everything(tmp_path) == before
    assert everything(new) == {}


def test_commands_name_the_unsafe_path(far, tmp_path, capsys):
    list_more(far, {"vv/bank/../../../../witness": Entry(4, digest(EVIL))})
    for command in (["info", far], ["segment", far, "--work", str(tmp_path / "here" / "a" / "b"), "--quiet"]):
        assert main(command) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("error: ") and "'vv/bank/../../../../witness'" in said and "files.json" in said
    assert (tmp_path / "here" / "witness").read_bytes() == (tmp_path / "witness").read_bytes() == b"mine"


@pytest.mark.parametrize("value", TYPES)
def test_files_json_of_other_types_raises_format_error(far, tmp_path, value):
    honest = json.loads(objects(far)["files.json"])
    manifests, files = honest["manifests"], honest["files"]
    cases = [sealed(value, files), sealed([value], files)]
    cases += [sealed(manifests, value)] if value != {} else []
    cases += [sealed(manifests, files | {"metrics.json": value})]
    cases += [sealed(manifests, files | {"metrics.json": [value, "0" * 64]})] if value != 3 else []
    cases += [sealed(manifests, files | {"metrics.json": [3, value]})]
    cases += [json.dumps(value).encode(), json.dumps(honest | {"format": value}).encode()]
    cases += [json.dumps(honest | {"sha256": value}).encode()]
    for data in cases:
        put(far, "files.json", data)
        with pytest.raises(FormatError, match=r"files\.json|run\.json"):
            Published.read(ObjectStore(far))


@pytest.mark.parametrize(
    "text",
    [b'{"format": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", b"[" * 100 + b"]" * 100, b"NaN", b'{"format": NaN}',
     b'{"format": 1e999}', b'{"format": ' + b"9" * 5000 + b"}", b'{"format": ' + b"9" * 301 + b"}", b"\xef\xbb\xbf{}",
     b'\xff{"format": 1}', b"", b"null", b'{"format": true}', b'{"format": "\\ud800"}'],
)  # fmt: skip
def test_invalid_json_raises_format_error(far, tmp_path, text):
    sound = objects(far)
    for name in ("files.json", "run.json"):
        put(far, name, text)
        with pytest.raises(FormatError, match=rf"{far}/{name}"):
            Published.read(ObjectStore(far))
        with pytest.raises(FormatError):
            RunSync(far, tmp_path / "new", QUIET).pull("report")
        put(far, name, sound[name])


def test_a_file_below_a_file_is_refused(far):
    known = Published.read(ObjectStore(far)).files["metrics.json"]
    list_more(far, {"metrics.json/a/b": known})
    with pytest.raises(FormatError, match=r"'metrics.json/a/b' below 'metrics.json'"):
        Published.read(ObjectStore(far))


@pytest.mark.parametrize("size", [10**13, 10**18, 2**63 - 1])
def test_impossible_sizes_raise_format_error(far, size):
    list_more(far, {"vv/ortho/X.1.f32": Entry(size, "0" * 64)})
    with pytest.raises(FormatError):
        info(far, False, False, QUIET)


def test_a_folder_listed_as_a_file_raises_format_error(far, tmp_path):
    new = tmp_path / "new"
    list_more(far, {"report/pictures": Entry(0, "0" * 64)})
    (tmp_path / "there" / "far" / "report" / "pictures").mkdir()
    entry = Published.read(ObjectStore(far)).files["report/pictures"]
    with pytest.raises(FormatError, match="report/pictures"):
        fetch(ObjectStore(far), "report/pictures", entry, new, lambda _: None)
    assert everything(new) == {} and list((new / "report").iterdir()) == []


@pytest.mark.parametrize("link", ["vv", "vv/bank", "vv/bank/X.1.f32", "features.zarr", "report/more"])
def test_links_of_the_working_folder_are_neither_followed_nor_published(far, tmp_path, link):
    outside = tmp_path / "outside"
    compute(outside, *STAGES, content="private")
    (outside / "report" / "more").mkdir()
    before = everything(outside)
    work = tmp_path / "here" / "work"
    compute(work, *STAGES, content="other")
    place = work / link
    if place.is_dir():
        place.rename(tmp_path / "aside")
    place.unlink(missing_ok=True)
    place.symlink_to(outside / link)
    for call in (
        lambda: RunSync(far, work, QUIET).pull("report", "graph"),
        lambda: RunSync((tmp_path / "there" / "new").as_uri(), work, QUIET).push(),
    ):
        with pytest.raises(SpectralGraphError) as error:
            call()
        assert isinstance(error.value, UnsafePathError) or "both changed" in str(error.value)
    assert everything(outside) == before
    published = tmp_path / "there" / "new"
    assert not published.exists() or not any(b"private" in data for data in everything(published).values())


def test_a_link_at_the_download_path_is_removed_not_followed(far, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    (new / ".metrics.json.partial").symlink_to(tmp_path / "witness")
    there = Published.read(ObjectStore(far))
    fetch(ObjectStore(far), "metrics.json", there.files["metrics.json"], new, lambda _: None)
    assert (tmp_path / "witness").read_bytes() == b"mine"
    assert (new / "metrics.json").read_bytes() == objects(far)["metrics.json"]


def test_fetch_refuses_a_link_that_leads_out(far, tmp_path):
    new = tmp_path / "new"
    (new / "vv").mkdir(parents=True)
    (new / "vv" / "bank").symlink_to(tmp_path / "here")
    there = Published.read(ObjectStore(far))
    with pytest.raises(UnsafePathError, match=r"vv/bank/bank.json"):
        fetch(ObjectStore(far), "vv/bank/bank.json", there.files["vv/bank/bank.json"], new, lambda _: None)
    assert everything(tmp_path / "here") == {"witness": b"mine"}


def test_hostile_lines_of_the_sync_state_are_ignored(far, tmp_path):
    work = tmp_path / "work"
    RunSync(far, work, QUIET).pull("report", "graph")
    lines = work / ".remote.jsonl"
    hostile = [
        b"[" * 50_000,
        b"\xff",
        b"[[], 1, 2, 3]",
        b'["../witness", 4, 0, "x"]',
        b"{}",
        b"7",
        b'["a", NaN, 1, "x"]',
    ]
    lines.write_bytes(b"\n".join([*hostile, lines.read_bytes()]))
    RunSync(far, work, QUIET).pull("report", "graph")
    RunSync(far, work, QUIET).push()
    assert (tmp_path / "witness").read_bytes() == b"mine"
    lines.unlink()
    lines.symlink_to(tmp_path / "witness")
    with pytest.raises(UnsafePathError, match=r"remote\.jsonl"):
        RunSync(far, work, QUIET).push()


def test_a_removal_that_contradicts_the_stages_is_refused(far, tmp_path):
    manifest = json.loads(objects(far)["run.json"])
    list_more(far, {}, manifest | {"forgetting": "graph"})
    with pytest.raises(FormatError, match=r"run\.json.*graph"):
        RunSync(far, tmp_path / "new", QUIET).pull("report")


def test_a_removal_under_way_is_not_published(far, tmp_path):
    work = tmp_path / "origin"
    manifest = json.loads((work / "run.json").read_text())
    for name in STAGES[3:]:
        manifest["stages"][name] = {"state": "open"}
    (work / "run.json").write_text(json.dumps(manifest | {"forgetting": STAGES[3]}))
    RunSync(far, work, QUIET).push()
    assert "forgetting" not in json.loads(objects(far)["run.json"])


@pytest.mark.parametrize("entry", ["stages", "config", "given", "fingerprint", "version", "versions", "preset"])
def test_a_published_run_json_is_checked_like_a_local_one(far, tmp_path, entry):
    whole = json.loads(objects(far)["run.json"])
    for value in (None, 7, [], "x", {"a": [1]}, {"vv": {}}):
        if isinstance(value, type(whole[entry])):
            continue
        list_more_raw(far, whole | {entry: value})
        with pytest.raises(FormatError, match=rf"run\.json.*{entry}"):
            info(far, False, False, QUIET)
        with pytest.raises(FormatError, match=rf"run\.json.*{entry}"):
            RunSync(far, tmp_path / "new", QUIET).pull("report")
    assert files_of(tmp_path / "new") == {}


def list_more_raw(url, manifest):
    raw = json.dumps(manifest).encode()
    files = json.loads(objects(url)["files.json"])["files"]
    put(url, "run.json", raw)
    put(url, "files.json", sealed([digest(raw)], files))


def test_every_honest_path_is_accepted():
    entry = Entry(1, "0" * 64)
    files = {path: entry for paths in FILES.values() for path in paths}
    assert decode_index(encode_index(files, ["0" * 64]), "url") == (files, ["0" * 64])


def test_a_folder_that_the_run_alone_names_is_not_extracted(tmp_path, capsys):
    """Features and report of it would be published at the URL."""
    url = (tmp_path / "there").as_uri()
    private = tmp_path / "private"
    private.mkdir()
    compute(tmp_path / "origin", "extract")
    manifest = json.loads((tmp_path / "origin" / "run.json").read_text())
    manifest["given"] = {"dataset": "folder", "root": str(private)}
    manifest["stages"]["extract"] = {"state": "open"}
    (tmp_path / "origin" / "run.json").write_text(json.dumps(manifest))
    RunSync(url, tmp_path / "origin", QUIET).push()
    for _ in range(2):
        assert main(["report", url, "--work", str(tmp_path / "work"), "--quiet"]) == 2
        said = capsys.readouterr().err
        assert "--root" in said and str(private) in said
        assert not (tmp_path / "work" / "run.json").exists()
    assert main(["report", url, "--work", str(tmp_path / "work"), "--root", str(private), "--quiet"]) == 2
    assert "no image" in capsys.readouterr().err
