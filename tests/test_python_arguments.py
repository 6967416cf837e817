"""Arguments of the public functions: a path may be a str, and a name that does not exist is refused by name."""

import numpy as np
import pytest

from spectral_graph.bank import Bank
from spectral_graph.config import make_config
from spectral_graph.data import open_dataset
from spectral_graph.errors import ConfigError, StaleRunError
from spectral_graph.features.load import load_model
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.neighbours import find_neighbours
from spectral_graph.graph.operator import merged_operator
from spectral_graph.graph.selection import Selection
from spectral_graph.node_rows import ArrayRows
from spectral_graph.ops import use_backend
from spectral_graph.per_image.operator import MergedAttention, head_graph
from spectral_graph.pipeline import run_pipeline
from spectral_graph.segment.store import RegionStore
from spectral_graph.solve.adam import AdamSettings, open_state
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev
from spectral_graph.solve.orthogonalise import orthogonalise


def test_a_path_may_be_a_str(tmp_path):
    place = lambda name: str(tmp_path / name)  # noqa: E731
    store = GraphStore.create(place("g"), {"nodes": 2, "rounds": 1})
    values = np.ones(2, np.float32)
    block = Block(np.arange(2), np.array([0, 1, 2]), np.array([1, 0], np.int32), values, values, {})
    store.write("merged/symmetric/000000", block)
    opened = GraphStore.open(place("g"))
    operator = merged_operator(opened, "symmetric")
    assert np.array_equal(operator @ np.array([1.0, 2.0]), [2, 1])
    found, _ = chebyshev(operator, place("w"), ChebyshevSettings(2, 1e-4, 40, 5, 0), 1, lambda _: None)
    assert found.view().shape == (2, 2)

    bank = Bank(place("b"), (2, 2), ("X",), 1)
    bank.begin()
    bank.write(range(2), np.eye(2, dtype=np.float32))
    bank.commit()
    assert Bank.exists(place("b")) and Bank.open(place("b")).shape == (2, 2)
    assert Bank.recover(place("b"))[1] == ""
    target = Bank(place("o"), (2, 2), ("X",), 1)
    assert orthogonalise(Bank.open(place("b")), target, "gram", operator.apply, place("ow")).off_diagonal == 0
    settings = AdamSettings(2, 1, 1, 0.1, 0)
    assert open_state(place("s"), 2, 1, settings)[1] == ""

    FeatureStore.create(place("f"), 1, (1, 1), {"a": 2}, ["v"], 2)
    assert FeatureStore.open(place("f")).slots == 1
    with RegionStore.create(place("r"), (1, 1), [0], 2):
        pass
    assert RegionStore.open(place("r")).clusters == 2

    rows = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    lists = find_neighbours(ArrayRows(rows), None, np.array([0, 10, 20]), 2, method="exact", work=place("n"))
    assert lists.columns.shape == (20, 2)


def test_a_run_and_a_data_set_may_be_named_by_a_str(options, folder, tmp_path):
    assert len(open_dataset("folder", str(folder)).records) == 7
    config = make_config({**options, "root": str(folder), "weights": str(options["weights"])})
    out = run_pipeline(config, str(tmp_path / "run"), until="extract")
    assert out == tmp_path / "run" and (out / "features.zarr").is_dir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(StaleRunError, match=r"thesis\.tex"):
        run_pipeline(config, str(tmp_path / "mine"), until="extract")
    assert load_model(options["model"], str(options["weights"])).layers


UNKNOWN = {
    "merged_operator": lambda name, store: merged_operator(store, name),
    "find_neighbours": lambda name, store: find_neighbours(
        ArrayRows(np.ones((4, 2), np.float32)), None, np.arange(5), 1, method=name, work=store.path / "n"
    ),
    "orthogonalise": lambda name, store: orthogonalise(
        Bank(store.path / "b", (2, 2), ("X",), 1), Bank(store.path / "o", (2, 2), ("X",), 1), name, None, "w"
    ),
    "Selection": lambda name, store: Selection(2, 2, hubs=name),
    "AdamSettings": lambda name, store: AdamSettings(2, 1, 1, 0.1, 0, objective=name),
    "Bank": lambda name, store: Bank(store.path / "b", (2, 2), ("X",), 1, name),
    "use_backend": lambda name, store: use_backend(name).__enter__(),
    "MergedAttention": lambda name, store: MergedAttention((2, 2), name),
    "head_graph": lambda name, store: head_graph(None, None, name),
    "open_dataset": lambda name, store: open_dataset(name),
    "labels": lambda name, store: open_dataset("coco", labels=name),
    "preset": lambda name, store: make_config({}, name),
    "scope": lambda name, store: make_config({"scope": name}),
    "until": lambda name, store: run_pipeline(make_config({}), store.path / "run", until=name),
    "force": lambda name, store: run_pipeline(make_config({}), store.path / "run", force=name),
}


@pytest.mark.parametrize("case", UNKNOWN)
@pytest.mark.parametrize("name", ["symmetrc", "", "none "])
def test_a_name_that_does_not_exist_is_refused_with_those_that_do(case, name, tmp_path):
    store = GraphStore.create(tmp_path / "g", {"nodes": 2, "rounds": 1})
    with pytest.raises(ConfigError) as refused:
        UNKNOWN[case](name, store)
    assert name in str(refused.value) and "\n" not in str(refused.value)
    assert not (store.path / "run").exists() and not (store.path / "w").exists()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"c_intra": -1}, "c_intra"),
        ({"c_inter": 2.5}, "c_inter"),
        ({"c_inter": True}, "c_inter"),
        ({"threshold": np.nan}, "threshold"),
        ({"threshold": -0.1}, "threshold"),
        ({"threshold": np.inf}, "threshold"),
        ({"sharpen": np.nan}, "sharpen"),
        ({"sharpen": 0.0}, "sharpen"),
        ({"sharpen": np.inf}, "sharpen"),
        ({"hub_cap": -1.0}, "hub_cap"),
        ({"hub_cap": np.nan}, "hub_cap"),
    ],
)
def test_a_selection_checks_its_numbers(change, name):
    with pytest.raises(ConfigError, match=f"`{name}="):
        Selection(**{"c_intra": 2, "c_inter": 2, **change})
