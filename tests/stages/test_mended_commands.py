"""A command that was mistyped is answered, and leaves nothing that stands in the way of the right one."""

import json
from pathlib import Path

import pytest

from spectral_graph.bank import Bank
from spectral_graph.cli.commands import main
from spectral_graph.config import make_config
from spectral_graph.errors import ConfigError, FormatError, StaleRunError
from spectral_graph.per_image.options import make_image_config
from spectral_graph.per_image.store import Photo, Results
from spectral_graph.remote.sync_state import STATE, SyncState
from spectral_graph.runs.directory import RunDirectory


@pytest.mark.parametrize("change", [{"layers": "99"}, {"model": "vit_tinny"}, {"size": "0"}])
def test_a_typo_does_not_bind_the_run(capsys, options, tmp_path, change):
    def call(given):
        flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        return main(["extract", str(tmp_path / "run"), *flags, "--quiet"])

    assert call({**options, **change}) == 2
    assert call(options) == 0, capsys.readouterr().err
    assert main(["extract", str(tmp_path / "run"), "--layers", "3", "--quiet"]) == 2  # of what there is, they hold
    assert "--layers is 3, but" in capsys.readouterr().err


def test_a_stage_that_wrote_something_binds_the_run(tmp_path):
    def attempt(seed):
        with RunDirectory(tmp_path / "run") as run:
            run.open(make_config({"seed": seed}), "best", "fingerprint")
            for stage in ("extract", "graph"):
                if not run.complete(stage):
                    with run.stage(stage):
                        if stage == "graph":
                            raise KeyboardInterrupt

    for seed in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            attempt(seed)
    (tmp_path / "run" / "qk" / "graph.zarr").mkdir(parents=True)
    with pytest.raises(StaleRunError, match=r"`seed`.*3.*2"):
        attempt(3)


@pytest.mark.parametrize("stage", ["graph", "solve", "orthogonalise", "segment", "evaluate", "report"])
def test_a_stage_of_a_run_that_is_not_there_starts_none(capsys, tmp_path, stage):
    with RunDirectory(tmp_path / "photos") as run:
        run.open(make_config({}), "best", "fingerprint")
    assert main([stage, str(tmp_path / "fotos")]) == 2
    message = capsys.readouterr().err
    assert f"{tmp_path / 'fotos'} holds no run (no run.json); did you mean {tmp_path / 'photos'}?" in message
    assert "spectral-graph build --out" in message
    assert f"that {stage} starts from with --dataset" in message
    assert main([stage, str(tmp_path / "zzz"), "--channels", "4"]) == 2
    assert "did you mean" not in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_folder_that_cannot_be_made_is_worded():
    words = r"`out=/proc/x`: this folder cannot be written \(.+\); name one that can"
    with pytest.raises(ConfigError, match=words), RunDirectory(Path("/proc/x")):
        pass


@pytest.mark.parametrize(("name", "stage"), [("bank", "solve"), ("ortho", "orthogonalise")])
def test_a_damaged_bank_names_the_stage_that_made_it(tmp_path, monkeypatch, name, stage):
    monkeypatch.setattr("os.fsync", lambda _: None)
    bank = Bank(tmp_path / name, (4, 1), ("X",), 4)
    bank.begin()["X"][:] = 1
    bank.commit()
    good = (tmp_path / name / "bank.json").read_text()
    for damage in ("{", "[]", good.replace('"format": 2', '"format": 9')):
        (tmp_path / name / "bank.json").write_text(damage)
        with pytest.raises(FormatError, match=rf"; recompute with `force={stage}`$"):
            Bank.open(tmp_path / name)
    (tmp_path / name / "bank.json").write_text(good)
    for file in ("X.1.f32", "images.1.npy"):
        content = (tmp_path / name / file).read_bytes()
        (tmp_path / name / file).write_bytes(content[:-1] + b"\x07")
        with pytest.raises(FormatError, match=rf"damaged.*; recompute with `force={stage}`$"):
            Bank.open(tmp_path / name)
        (tmp_path / name / file).write_bytes(content)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "null", "{}", '{"url": 3, "state": ""}', '{"url": "u"}'])
def test_the_journal_of_a_published_run_is_read_by_its_shape(tmp_path, content):
    (tmp_path / STATE).write_text(content)
    with pytest.raises(FormatError, match=r"\.remote\.json"):
        SyncState(tmp_path, "u")
    SyncState(tmp_path / "new", "u")
    (tmp_path / STATE).write_text('{"url": "u", "state": "s"}')
    (tmp_path / ".remote.jsonl").write_text('7\nnull\n[1, 2]\n[[], 1, 2, 3]\n["a", 1, 2, "c"]\n')
    assert SyncState(tmp_path, "u")._known == {"a": (1, 2, "c")}


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "null", "{}", '{"options": []}'])
def test_the_notes_of_photos_are_read_by_their_shape(tmp_path, content):
    about = tmp_path / "image.json"
    about.write_text(content)
    results = Results(tmp_path, make_image_config({}))
    with pytest.raises(FormatError, match=r"image\.json.*`force`"):
        results.open(force=False)
    results.open(force=True)
    assert json.loads(about.read_text())["options"] == results.options
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.json").write_text(content)
    assert not results.is_done(Photo("a", tmp_path / "a.jpg", "00"))
    assert results.records() == []
