"""JSON files of a run that are damaged in whichever way: an error in words that names file, entry and cure."""

import json

import numpy as np
import pytest

from spectral_graph.bank import Bank
from spectral_graph.config import STAGES, make_config
from spectral_graph.errors import FormatError
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.runs.directory import RunDirectory
from spectral_graph.runs.graph_attributes import graph_attributes, graph_facts
from spectral_graph.runs.image_table import ImageTable, KeptImage
from spectral_graph.runs.manifest import read_manifest
from spectral_graph.runs.metrics import read_metrics
from spectral_graph.runs.notes import orthogonal_notes, solution_notes
from spectral_graph.segment.store import RegionStore

SCORE = {"mean": 0.5, "sd": None, "values": [0.5]}
SUMMARY = {"miou": SCORE, "accuracy": SCORE, "classes": {"sky": SCORE}}
SEED = {"seed": 0, "matching": {"hungarian": [0, -1]}}
METHOD = {
    "title": "V-V", "clusters": 2, "coordinates": {"mse": 1.5}, "images_scored": 1, "images_without_label": 0,
    "hungarian": SUMMARY, "greedy": SUMMARY, "class_pixels": {"sky": 9}, "seeds": [SEED],
}  # fmt: skip
PLAIN = {"title": "K-means", "clusters": 2, "coordinates": {"mse": 1.5}}
SPECTRUM = {"rayleigh_quotients": [1.0], "residuals": None, "converged": None}
METRICS = {
    "dataset": {"unreadable_labels": [["a", "torn"]]},
    "methods": {"vv": METHOD, "final": PLAIN},
    "spectrum": {"vv": SPECTRUM},
}
OPTIMALITY = {"value": 0.5, "optimum": 1, "overlap": None, "angles": None}
SOLUTION = {
    "solver": "chebyshev", "rayleigh_quotients": [1.0], "eigenvalues": [1.0], "residuals": [1e-4], "converged": True,
    "history": [{"step": 1, "residual": 1e-4}], "optimality": OPTIMALITY,
}  # fmt: skip
STEP = {"step": 1, "loss": 1.0, "eigenvalue": 1.0, "orthogonality": 0.0, "gradient_norm": 0.1}
ADAM = {"solver": "adam", "rayleigh_quotients": [1.0], "objective": "paper", "ema": 0, "history": [STEP]}
ORTHOGONAL = {"order": "ritz", "off_diagonal": 1e-9, "rayleigh_quotients": [1.0]}
FACTS = {
    "nodes": 4, "blocks": 1, "stored_edges": 8, "mean_degree": 2.0, "isolated_nodes": 0,
    "rows_with_fewer_neighbours": 0, "largest_in_degree": 2, "components": 1,
}  # fmt: skip
GRAPH = {
    "kind": "vv", "scope": "batch", "batch": 4, "layers": ["blocks.0"], "rounds": 1, "nodes": 4,
    "nodes_per_image": 4, "grid": [2, 2], "c_intra": 2, "c_inter": 1, "threshold": 0.1, "sharpen": 1, "centred": True,
    "facts": {"layers": {"blocks.0": FACTS}, "all": FACTS},
}  # fmt: skip


def wrong(value, at=""):
    """Yield `value` with one entry left out, or of another type; the name of the entry; whether it was left out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            place = f"{at}{name}"
            yield {key: other for key, other in value.items() if key != name}, place, True
            yield value | {name: object_of_another_type(inner)}, place, False
            for changed, where, dropped in wrong(inner, f"{place}."):
                yield value | {name: changed}, where, dropped


def object_of_another_type(value):
    return 7 if isinstance(value, (dict, list, str)) else "x"


def note_bank(path, notes):
    bank = Bank(path, (4, 1), ("X",), 4)
    bank.begin()["X"][:] = 1
    bank.commit(**notes)
    return Bank.open(path)


def make_run(path):
    with RunDirectory(path) as run:
        run.open(make_config({}), "best", "fingerprint")


FORMS = {
    "metrics.json": (METRICS, lambda p: read_metrics(p / "metrics.json", ["vv"])),
    "solution": (SOLUTION, lambda p: solution_notes(Bank.open(p / "bank"))),
    "adam": (ADAM, lambda p: solution_notes(Bank.open(p / "bank"))),
    "ortho": (ORTHOGONAL, lambda p: orthogonal_notes(Bank.open(p / "bank"))),
    "graph": (GRAPH, lambda p: (graph_attributes(GraphStore.open(p / "g")), graph_facts(GraphStore.open(p / "g")))),
}
OPTIONAL = {"optimality", "methods.vv.class_pixels.sky", "facts.layers.blocks.0"}


def store(kind, value, path):
    if kind == "metrics.json":
        (path / kind).write_text(json.dumps(value))
    elif kind == "graph":
        GraphStore.create(path / "g", value)
    else:
        about = json.loads((path / "bank" / "bank.json").read_text())
        (path / "bank" / "bank.json").write_text(json.dumps(about | {"notes": value}))


@pytest.mark.parametrize("kind", FORMS)
def test_each_entry_that_is_missing_or_of_another_type_is_worded(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("os.fsync", lambda _: None)
    value, read = FORMS[kind]
    note_bank(tmp_path / "bank", {})
    store(kind, value, tmp_path)
    read(tmp_path)
    tried = 0
    for changed, entry, dropped in wrong(value):
        if (dropped and entry in OPTIONAL) or entry.endswith(".values"):
            continue
        store(kind, changed, tmp_path)
        with pytest.raises(FormatError, match=r"(?s)is (damaged \(|not finished).*; recompute with `force=") as error:
            read(tmp_path)
        assert (
            entry.rsplit(".", 1)[-1] in str(error.value) or "V-V" in str(error.value) or "K-means" in str(error.value)
        )
        tried += 1
    assert tried >= 2 * len(value) - 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m | {"class_pixels": {"sea": 1}}, "hungarian has no class sea"),
        (lambda m: m | {"clusters": 3}, "a matching does not have one class a cluster"),
        (lambda m: {name: entry for name, entry in m.items() if name != "greedy"}, "there is no greedy"),
    ],
)
def test_scores_that_contradict_each_other_are_worded(tmp_path, change, words):
    (tmp_path / "m").write_text(json.dumps(METRICS | {"methods": {"vv": change(METHOD), "final": PLAIN}}))
    with pytest.raises(FormatError, match=rf"{words}\).*`force=evaluate`"):
        read_metrics(tmp_path / "m", ["vv"])


@pytest.mark.parametrize(
    "content", [b"", b'{"format": 1, ', b"\xff\xfe", b"[]", b"7", b"null", b'"x"', b"{}", b"[1, 2]"]
)
def test_files_of_another_shape_are_worded(tmp_path, monkeypatch, content):
    monkeypatch.setattr("os.fsync", lambda _: None)
    make_run(tmp_path / "run")
    note_bank(tmp_path / "bank", {})
    with RegionStore.create(tmp_path / "r", (2, 2), [0], 3):
        pass
    FeatureStore.create(tmp_path / "f", 1, (2, 2), {"a": 3}, ("v",), 3)
    image = KeptImage("a", 0, (0, 0, 4, 4), (4, 4))
    table = ImageTable((2, 2), (4, 4), ("a",), (image,), (), {"name": "m", "weights": {}, "note": ""})
    table.save(tmp_path / "images.json")
    assert ImageTable.load(tmp_path / "images.json") == table
    for file, read, cure in (
        ("run/run.json", lambda: read_manifest(tmp_path / "run"), "recompute the run in another folder"),
        ("bank/bank.json", lambda: Bank.open(tmp_path / "bank"), "`force=solve`"),
        ("images.json", lambda: ImageTable.load(tmp_path / "images.json"), "`force=extract`"),
        ("metrics.json", lambda: read_metrics(tmp_path / "metrics.json", ["vv"]), "`force=evaluate`"),
        ("r/zarr.json", lambda: RegionStore.open(tmp_path / "r"), "`force=segment`"),
        ("f/zarr.json", lambda: FeatureStore.open(tmp_path / "f"), "`force=extract`"),
    ):
        (tmp_path / file).write_bytes(content)
        with pytest.raises(FormatError, match=cure):
            read()


def test_each_entry_of_the_description_of_a_bank_and_of_a_run_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)
    bank = note_bank(tmp_path / "bank", {"any": 1})
    make_run(tmp_path / "run")
    for file, read, free in (
        (bank.path / "bank.json", lambda: Bank.open(bank.path), {"notes.any"}),
        (tmp_path / "run" / "run.json", lambda: read_manifest(tmp_path / "run"), set()),
    ):
        whole = json.loads(file.read_text())
        for changed, entry, dropped in wrong(whole):
            if entry in free or entry.startswith(("config.", "given.", "versions.")):
                continue
            if dropped and entry in ("labels_fingerprint", "weights_fingerprint"):  # not in runs of earlier builds
                continue
            file.write_text(json.dumps(changed))
            with pytest.raises(FormatError, match=r"damaged|has format|does not fit|missing"):
                read()
        file.write_text(json.dumps(whole))
        read()


def test_a_new_run_is_told_of_in_full_wherever_it_is_killed(tmp_path, monkeypatch):
    """Also with --force, which has nothing to remove yet."""
    states = []
    save = RunDirectory.save

    def noting(self):
        save(self)
        states.append(read_manifest(self.path))

    monkeypatch.setattr(RunDirectory, "save", noting)
    with RunDirectory(tmp_path / "run") as run:
        run.open(make_config({}), "best", "fingerprint", "solve")
    assert states and all(set(state["stages"]) == set(STAGES) for state in states)


def test_labels_of_another_shape_are_worded(tmp_path):
    with RegionStore.create(tmp_path / "r", (2, 2), [0], 3) as regions:
        regions.add_method("vv", 1, 1)
        regions.write("vv", 0, 0, np.zeros((1, 4), np.uint16))
    about = tmp_path / "r" / "zarr.json"
    content = json.loads(about.read_text())
    content["attributes"]["spectral_graph"]["grid"] = [3, 3]
    about.write_text(json.dumps(content))
    with pytest.raises(FormatError, match=r"r/vv/labels.*0.*\(1.*1.*4\).*\(3.*3\).*`force=segment`"):
        RegionStore.open(tmp_path / "r").read("vv", 0, 0)
