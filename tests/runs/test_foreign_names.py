"""Names, slots and shapes in images.json, bank.json and Zarr attributes that someone else wrote."""

import io
import json
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec

from spectral_graph.bank import Bank
from spectral_graph.data.dataset import ImageRecord
from spectral_graph.errors import FormatError
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.runs.graph_attributes import graph_attributes
from spectral_graph.runs.image_table import ImageTable, KeptImage
from spectral_graph.segment.store import RegionStore
from spectral_graph.stages.context import bank_of, features_of, graph_of, record_of

NAMES = [
    "",
    ".",
    "..",
    "a/b",
    "../../x",
    "/etc/x",
    "a\\b",
    "a\0",
    "\x1b[2J",
    ".work",
    "C:x",
    "a" * 256,
    "\ud800",
    3,
    None,
]
IMAGES = tuple(KeptImage(f"{slot}", slot, (0, 0, 8, 4), (4, 8)) for slot in (0, 2))
TABLE = ImageTable((2, 3), (28, 42), ("a", "b"), IMAGES, (), {"name": "m", "weights": {}, "note": ""})
GRAPH = {
    "kind": "vv", "scope": "dataset", "neighbours": "cells", "layers": ["a", "b"], "rounds": 1, "nodes": 12,
    "nodes_per_image": 6, "grid": [2, 3], "c_intra": 2, "c_inter": 1, "threshold": 0.1, "sharpen": 1, "centred": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def run(tmp_path):
    """What the stages extract to orthogonalise leave, but for the values."""
    TABLE.save(tmp_path / "images.json")
    FeatureStore.create(tmp_path / "features.zarr", 3, (2, 3), {"a": 4, "b": 4}, ("v",), 5, {"b": (1, 2)})
    GraphStore.create(tmp_path / "vv" / "graph.zarr", GRAPH)
    bank = Bank(tmp_path / "vv" / "ortho", (12, 2), ("X",), 6)
    bank.begin()["X"][:] = 1
    bank.commit()
    with RegionStore.create(tmp_path / "regions.zarr", (2, 3), [0], 3) as regions:
        regions.add_method("vv", 2, 2)
    return tmp_path


def change(file, *way, to):
    """Replace one node of a JSON file."""
    whole = json.loads(file.read_bytes())
    node = whole
    for key in way[:-1]:
        node = node[key]
    node[way[-1]] = to
    file.write_text(json.dumps(whole))


def context(run):
    return SimpleNamespace(run=SimpleNamespace(path=run, folder=lambda kind: run / kind))


def zarr_attributes(store):
    return store / "zarr.json", "attributes", "spectral_graph"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_no_plain_file_name_is_refused(run, name):
    places = [
        (run / "images.json", ("layers",), ["a", name], lambda: ImageTable.load(run / "images.json")),
        (run / "vv" / "ortho" / "bank.json", ("arrays",), [name], lambda: Bank.open(run / "vv" / "ortho")),
        (run / "vv" / "ortho" / "bank.json", ("counters",), [name], lambda: Bank.open(run / "vv" / "ortho")),
        (run / "vv" / "ortho" / "bank.json", ("records", "file"), name, lambda: Bank.open(run / "vv" / "ortho")),
    ]
    graph, features = run / "vv" / "graph.zarr", run / "features.zarr"
    places.append((graph / "zarr.json", (*zarr_attributes(graph)[1:], "layers"), ["a", name],
                   lambda: graph_attributes(GraphStore.open(graph))))  # fmt: skip
    if isinstance(name, str):
        for entry in ("layers", "coarse"):
            to = {"a": 4, "b": 4, name: 4} if entry == "layers" else {name: [1, 2]}
            places.append((features / "zarr.json", (*zarr_attributes(features)[1:], entry), to,
                           lambda: FeatureStore.open(features)))  # fmt: skip
    for file, way, to, read in places:
        whole = file.read_bytes()
        read()
        change(file, *way, to=to)
        with pytest.raises(FormatError) as error:
            read()
        assert file.parent.name in str(error.value) and way[-1] in str(error.value).replace("records", "file")
        assert str(error.value).isprintable()
        file.write_bytes(whole)


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("images", 1, "slot"), 0),
        (("images", 0, "slot"), 5),
        (("images", 0, "slot"), -1),
        (("images", 1, "slot"), 2**31),
        (("images", 1, "slot"), 1.0),
        (("images", 1, "slot"), True),
        (("images", 0, "box"), [0, 0, 9, 4]),
        (("images", 0, "box"), [0, 0, 8, 5]),
        (("images", 0, "box"), [-1, 0, 8, 4]),
        (("images", 0, "box"), [4, 0, 4, 4]),
        (("images", 0, "box"), [5, 0, 4, 4]),
        (("images", 0, "box"), [0, 4, 8, 4]),
        (("images", 0, "source_size"), [4, 10**400]),
        (("images", 0, "source_size"), [0, 8]),
        (("grid",), [2**16, 2**15]),
        (("grid",), [2**70, 1]),
        (("layers",), ["a", "a"]),
        (("layers",), []),
    ],
)
def test_images_that_contradict_themselves_are_worded(run, way, value):
    text = (run / "images.json").read_text()
    change(run / "images.json", *way, to="VALUE")
    (run / "images.json").write_text((run / "images.json").read_text().replace('"VALUE"', json.dumps(value)))
    with pytest.raises(FormatError, match=r"images\.json.*`force=extract`"):
        ImageTable.load(run / "images.json")
    (run / "images.json").write_text(text)
    assert ImageTable.load(run / "images.json") == TABLE


def test_images_that_the_stores_do_not_hold_are_worded(run):
    around = context(run)
    features_of(around, TABLE), graph_of(around, TABLE, "vv"), bank_of(run / "vv" / "ortho", TABLE)
    more = KeptImage("3", 3, (0, 0, 8, 4), (4, 8))
    others = [
        ImageTable((3, 2), (28, 42), ("a", "b"), IMAGES, ()),
        ImageTable((2, 3), (28, 42), ("a", "c"), IMAGES, ()),
        ImageTable((2, 3), (28, 42), ("a", "b"), (*IMAGES, more), ()),
    ]
    for table in others:
        with pytest.raises(FormatError, match=r"features\.zarr"):
            features_of(around, table)
    for table in others[1:]:
        with pytest.raises(FormatError, match=r"graph\.zarr"):
            graph_of(around, table, "vv")
    with pytest.raises(FormatError, match="ortho"):
        bank_of(run / "vv" / "ortho", others[2])
    change(*zarr_attributes(run / "vv" / "graph.zarr"), "kind", to="qk")
    with pytest.raises(FormatError, match=r"graph\.zarr"):
        graph_of(around, TABLE, "vv")


def test_an_image_that_the_data_set_does_not_have_is_worded(tmp_path):
    records = [ImageRecord(f"{slot}", tmp_path, None) for slot in range(3)]
    around = context(tmp_path)
    around.dataset = SimpleNamespace(records=records, name="folder")
    assert record_of(around, IMAGES[1]) is records[2]
    for wrong in (KeptImage("2", 3, (0, 0, 1, 1), (1, 1)), KeptImage("\x1b", 2, (0, 0, 1, 1), (1, 1))):
        with pytest.raises(FormatError, match=r"images\.json") as error:
            record_of(around, wrong)
        assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("entry", "value"),
    [("nodes", 7), ("slots", 2), ("slots", 10**12), ("grid", [3, 3]), ("final_width", 6), ("layers", {"a": 5, "b": 4}),
     ("coarse", {"b": [2, 2]}), ("tensors", ["v", "v"]), ("tensors", []), ("coarse", {"c": [1, 2]}), ("layers", {})],
)  # fmt: skip
def test_features_of_another_shape_are_worded(run, entry, value):
    store = FeatureStore.open(run / "features.zarr")
    store.write(0, {"a": {"v": np.ones((6, 4))}, "b": {"v": np.ones((2, 4))}}, np.ones((6, 5)))
    assert store.read("b", "v", [0]).shape == (1, 6, 4)
    change(*zarr_attributes(run / "features.zarr"), entry, to=value)
    with pytest.raises(FormatError, match=r"features\.zarr.*`force=extract`"):
        store = FeatureStore.open(run / "features.zarr")
        store.read("a", "v", [0]), store.read("b", "v", [0]), store.read_final([0])


@pytest.mark.parametrize("slots", [[3], [-1], [0, 10**9]])
def test_slots_outside_of_the_store_are_worded(run, slots):
    store = FeatureStore.open(run / "features.zarr")
    store.write(0, {"a": {"v": np.ones((6, 4))}, "b": {"v": np.ones((2, 4))}}, np.ones((6, 5)))
    for read in (store.read_final, lambda s: store.read("a", "v", s), lambda s: store.mean("b", "v", s)):
        with pytest.raises(FormatError, match=r"features\.zarr"):
            read(slots)
    for layer in ("c", "../a", "\x1b"):
        with pytest.raises(FormatError, match="no layer"):
            store.mean(layer, "v", [0])


def test_records_that_would_be_unpickled_are_refused(run):
    raw = io.BytesIO()
    np.save(raw, np.array([{"a": 1}], object), allow_pickle=True)
    for content in (raw.getvalue(), b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00"):
        (run / "vv" / "ortho" / "images.1.npy").write_bytes(content)
        change(run / "vv" / "ortho" / "bank.json", "records", "crc32", to=zlib.crc32(content))
        with pytest.raises(FormatError, match=r"images\.1\.npy.*`force=orthogonalise`"):
            Bank.open(run / "vv" / "ortho")


def test_stores_of_zarr_format_2_are_refused(run):
    """Its codecs include some that run code from the file."""
    for name, read in (
        ("features.zarr", FeatureStore.open),
        ("regions.zarr", RegionStore.open),
        ("vv/graph.zarr", GraphStore.open),
    ):
        about = json.loads((run / name / "zarr.json").read_bytes())["attributes"]
        (run / name / "zarr.json").unlink()
        zarr.open_group(run / name, mode="w", zarr_format=2).attrs.update(about)
        with pytest.raises(FormatError, match=name):
            read(run / name)


@pytest.mark.parametrize(
    "text", ["[" * 50_000 + "]" * 50_000, "{}", "[]", '{"zarr_format": 3, "node_type": "array"}', ""]
)
def test_descriptions_of_another_shape_are_worded(run, text):
    for name, read in (
        ("features.zarr", FeatureStore.open),
        ("regions.zarr", RegionStore.open),
        ("vv/graph.zarr", GraphStore.open),
    ):
        (run / name / "zarr.json").write_text(text)
        with pytest.raises(FormatError, match=name):
            read(run / name)


@pytest.mark.parametrize(
    ("array", "way", "value"),
    [
        ("rows", ("shape",), [10**15]),
        ("data", ("shape",), [-1]),
        ("data", ("data_type",), "object"),
        ("data", ("data_type",), "float64"),
        ("indices", ("chunk_grid", "configuration", "chunk_shape"), [10**15]),
        ("indices", ("chunk_grid", "configuration", "chunk_shape"), [0]),
        ("indptr", ("chunk_grid",), []),
        ("indptr", ("codecs",), [{"name": "pickle"}]),
        ("degree", ("shape",), [1]),
    ],
)
def test_blocks_that_are_not_what_they_say_are_worded(run, array, way, value):
    store = GraphStore.open(run / "vv" / "graph.zarr")
    block = Block(np.arange(2), np.array([0, 1, 2]), np.array([1, 0], np.int32), np.ones(2, np.float32),
                  np.ones(2, np.float32), {}, None, np.ones(2, np.int32))  # fmt: skip
    store.write("blocks/a/0", block)
    store.read("blocks/a/0")
    change(store.path / "blocks/a/0" / array / "zarr.json", *way, to=value)
    with pytest.raises(FormatError, match=r"blocks/a/0.*force=graph"):
        store.read("blocks/a/0")


def test_labels_of_another_type_are_worded(run):
    group = zarr.open_group(run / "regions.zarr", mode="r+")
    for shape, dtype in (((1, 2, 6), "float32"), ((1, 2, 6), "int64"), ((1, 2, 7), "uint16"), ((2, 6), "uint16")):
        group.create_array("vv/labels", shape=shape, dtype=dtype, overwrite=True, compressors=[Crc32cCodec()])
        with pytest.raises(FormatError, match=r"regions\.zarr/vv/labels.*`force=segment`"):
            RegionStore.open(run / "regions.zarr").read("vv", 0, 0)


def test_quantiles_that_are_no_numbers_are_worded(run):
    facts = {
        "nodes": 12, "blocks": 1, "stored_edges": 8, "mean_degree": 2.0, "isolated_nodes": 0,
        "rows_with_fewer_neighbours": 0, "largest_in_degree": 2, "components": 1, "largest_component": 12,
        "share_with_fewer_neighbours": 0.0, "recall": 1.0,
    }  # fmt: skip
    for key in ("x", "", "nan", "inf", "2", "-1"):
        whole = facts | {"in_degree_quantiles": {key: 1}}
        change(*zarr_attributes(run / "vv" / "graph.zarr"), "facts", to={"layers": {"a": whole}, "all": whole})
        with pytest.raises(FormatError, match=r"graph\.zarr.*in_degree_quantiles"):
            graph_attributes(GraphStore.open(run / "vv" / "graph.zarr"))
