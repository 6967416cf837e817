"""Every public product refuses an operand that does not fit, and agrees with SciPy on one that does."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from spectral_graph import ops
from spectral_graph.distributed.comm import ONE_PROCESS
from spectral_graph.errors import ConfigError, GraphError
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.local_operator import LocalOperator, local_operator
from spectral_graph.graph.merge import write_merged
from spectral_graph.graph.operator import affinity_operator, merged_operator
from spectral_graph.graph.random_walk import random_walk_form
from spectral_graph.grid_map import grid_map
from spectral_graph.solve.chebyshev import rayleigh_quotients
from spectral_graph.solve.device_operator import DeviceOperator
from spectral_graph.solve.recurrence import step

NODES = 16


def square(rows, seed):
    """A symmetric matrix with a node that has no edge."""
    generator = np.random.default_rng(seed)
    upper = np.triu(generator.random((rows, rows)) < 0.3, 1) * generator.uniform(0.1, 1, (rows, rows))
    upper[:, 0] = upper[0] = 0
    return sparse.csr_matrix((upper + upper.T).astype(np.float32))


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Operators over the same blocks, two rounds of two blocks, and the dense matrix."""
    store = GraphStore.create(tmp_path_factory.mktemp("g"), {"nodes": NODES, "rounds": 2, "nodes_per_image": 1})
    dense = np.zeros((NODES, NODES))
    order = np.arange(NODES)
    for index, rows in enumerate((order[::2], order[1::2], order[:8], order[8:])):
        a = square(len(rows), index)
        block = Block(rows, a.indptr.astype(np.int64), a.indices, a.data, np.ones(len(rows), np.float32), {})
        store.write(f"blocks/a/{index:06d}", block)
        store.write(f"merged/symmetric/{index:06d}", block)
        dense[np.ix_(rows, rows)] += a.toarray() / 2
    names = store.names("merged/symmetric")
    merged = merged_operator(store, "symmetric")
    return {
        "merged": merged,
        "affinity": affinity_operator(store, "a"),
        "local": LocalOperator(store, names, NODES, 2, 1, ONE_PROCESS, store.path / "work"),
        "device": DeviceOperator(merged, torch.device("cpu"), 1 << 20),
    }, dense


PRODUCTS = ("merged", "affinity", "local", "device")
MASKED = np.ma.MaskedArray(np.ones((NODES, 2)), mask=np.eye(NODES, 2))
BAD = {
    "too few rows": np.ones((4, NODES)),
    "half the rows": np.ones((NODES // 2, 8)),
    "twice the rows": np.ones((2 * NODES, 2)),
    "three axes": np.ones((NODES, 2, 3)),
    "three axes, the last two of one": np.ones((NODES, 1, 1)),
    "a scalar": np.float32(3),
    "a number": 3,
    "a longer vector": np.ones(2 * NODES),
    "a shorter vector": np.ones(NODES // 2),
    "complex": np.ones((NODES, 2), complex),
    "objects": np.full((NODES, 2), None),
    "text": np.full((NODES, 2), "1"),
    "dates": np.zeros((NODES, 2), "datetime64[s]"),
    "none": None,
    "a word": "x",
    "rows of several lengths": [[1.0], *[[1.0, 2.0]] * (NODES - 1)],
    "sparse": sparse.csr_matrix(np.ones((NODES, 2))),
    "torch sparse": torch.ones(NODES, 2).to_sparse(),
    "torch complex": torch.ones(NODES, 2, dtype=torch.complex64),
    "torch of another shape": torch.ones(2, NODES),
    "masked": MASKED,
    "beyond float32": np.full((NODES, 2), 1e39),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("bad", BAD)
def test_operands_that_do_not_fit_are_refused(products, name, bad):
    operator = products[0][name]
    with pytest.raises(GraphError, match="operator @ X") as refused:
        operator @ BAD[bad]
    shape = getattr(BAD[bad], "shape", None)
    if shape is not None and tuple(shape) != (NODES, 2):
        assert str(tuple(shape)) in str(refused.value) and str(NODES) in str(refused.value)


GOOD = {
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x,
    "float16": lambda x: x.astype(np.float16),
    "whole numbers": lambda x: (3 * x).astype(np.int64),
    "small whole numbers": lambda x: (3 * x).astype(np.int8),
    "booleans": lambda x: x > 0,
    "big-endian": lambda x: x.astype(">f8"),
    "columns first": np.asfortranarray,
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x: x[::-1],
    "read-only": lambda x: np.broadcast_to(x, x.shape),
    "torch": lambda x: torch.from_numpy(x.astype(np.float32)),
    "torch with a gradient": lambda x: torch.from_numpy(x).requires_grad_(),
    "torch bfloat16": lambda x: torch.from_numpy(x).bfloat16(),
    "lists": lambda x: x.tolist(),
    "unmasked": np.ma.MaskedArray,
}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(PRODUCTS),
    st.sampled_from(sorted(GOOD)),
    st.sampled_from([(NODES,), (NODES, 0), (NODES, 1), (NODES, 2), (NODES, 17)]),
    st.integers(0, 2**31),
)
def test_operands_that_fit_give_the_product_of_scipy(products, name, form, shape, seed):
    operators, dense = products
    x = GOOD[form](np.random.default_rng(seed).standard_normal(shape))
    if form == "lists" and shape[-1] == 0:
        return  # lists of no numbers have lost their dtype, not their shape
    plain = x.detach().float().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)
    expected = sparse.csr_matrix(dense) @ plain.astype(np.float64)
    found = operators[name] @ x
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["merged", "affinity", "local"])
def test_apply_checks_both_arrays(products, name):
    operator = products[0][name]
    good = np.ones((NODES, 2), np.float32)
    read_only = np.zeros((NODES, 2), np.float32)
    read_only.setflags(write=False)
    pairs = {
        "rows": (good[:4], good[:4]),
        "out": (good, np.zeros((NODES, 3), np.float32)),
        "dtype": (good.astype(np.float64), np.zeros((NODES, 2))),
        "dtype of out": (good, np.zeros((NODES, 2))),
        "vector": (good[:, 0], np.zeros(NODES, np.float32)),
        "axes": (good[:, :, None], np.zeros((NODES, 2, 1), np.float32)),
        "tensor": (torch.ones(NODES, 2), np.zeros((NODES, 2), np.float32)),
        "read-only": (good, read_only),
        "the same": (good, good),
    }
    for x, out in pairs.values():
        with pytest.raises(GraphError):
            operator.apply(x, out)
    with pytest.raises(GraphError):
        operator.gathered(good[:4])


def test_what_is_built_on_products_checks_its_columns(products, tmp_path):
    operator, dense = products[0]["merged"], products[1]
    for bad in (np.ones((4, NODES), np.float32), np.ones((NODES, 2)), np.ones(NODES, np.float32)):
        with pytest.raises(GraphError):
            random_walk_form(operator._store, ["a"], operator, bad)
        with pytest.raises(GraphError):
            rayleigh_quotients(operator, bad, tmp_path)
    good = np.ones((NODES, 2), np.float32)
    for x, y in ((good[:4], good[:4]), (good, np.ones((NODES, 3), np.float32)), (good[:, 0], good[:, 0])):
        with pytest.raises(GraphError):
            step(operator, x, y, 1.0, 0.0, 0.0)
    y = np.empty_like(good)
    step(operator, good, y, 2.0, 1.0, 0.0)
    np.testing.assert_allclose(y, 2 * dense @ good + good, atol=1e-5)


@pytest.mark.parametrize("bad", ["too few rows", "three axes", "a number", "twice the rows", "a word", "none"])
def test_a_map_between_grids_refuses_other_operands(bad):
    with pytest.raises((ValueError, TypeError)):
        grid_map((4, 4), (2, 2)) @ BAD[bad]


def test_names_of_operators_are_refused_by_name(products):
    store = products[0]["merged"]._store
    for make in (
        lambda name: merged_operator(store, name),
        lambda name: local_operator(store, name, ONE_PROCESS, store.path),
        lambda name: list(write_merged(store, ["a"], [], name)),
    ):
        for name in ("symmetrc", "", None, "../symmetric"):
            with pytest.raises(ConfigError, match="symmetric, random_walk") as refused:
                make(name)
            assert repr(name) in str(refused.value)
    with pytest.raises(GraphError, match=r"'b'.*a"):
        affinity_operator(store, "b")


INDPTR, INDICES = torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1], dtype=torch.int32)
VALUES, X, PTR = torch.ones(3), torch.ones(2, 4), torch.tensor([0, 2])
NAMES = torch.tensor([0, 1], dtype=torch.int32)
CALLS = {
    "csr_spmm": (INDPTR, INDICES, VALUES, X),
    "csr_spmm_transposed": (INDPTR, INDICES, VALUES, X, 2),
    "csr_sddmm": (INDPTR, INDICES, X, X),
    "csr_transpose": (INDPTR, INDICES, VALUES, 2),
    "csr_symmetrise": (INDPTR, INDICES, VALUES, 2),
    "rayleigh": (INDPTR, INDICES, VALUES, torch.ones(2), X),
    "chebyshev_step_": (INDPTR, INDICES, VALUES, X, X.clone(), X.clone(), 1.0, 0.0, 0.0),
    "gram": (X, X),
    "rotate": (X, torch.ones(4, 2, dtype=torch.float64)),
    "adam_rows_": (X.clone(), X.clone(), X.clone(), X, torch.ones(2), 0.1),
    "unit_project": (X, torch.zeros(4), torch.ones(4, 2)),
    "topc_affinity": (X, X, PTR, 1, 1),
    "cell_topc": (X, NAMES, X, NAMES, PTR, NAMES[:, None] * 0, 1),
    "cosine_topc": (X, X, torch.zeros(4), torch.ones(2), NAMES, NAMES[:, None], 1),
    "topc_merge": ([INDPTR], [INDICES], [VALUES], 1),
}
WRONG = {
    "an axis more": lambda part: part.expand(1, *part.shape).clone(),
    "complex": lambda part: part.to(torch.complex64),
    "another dtype": lambda part: part.to(torch.uint8),
}
NO_TENSOR = {
    "an array": lambda part: part.numpy(),
    "a list": lambda part: part.tolist(),
    "none": lambda part: None,
    "sparse": lambda part: part.to_sparse(),
}


def test_every_operator_is_among_the_calls():
    helpers = {"BACKENDS", "CsrProduct", "UncompiledWarning", "compiled", "current_backend", "use_backend"}
    assert CALLS.keys() == set(ops.__all__) - helpers


def broken(arguments, changes):
    """Yield the arguments with one tensor changed, for each tensor and each change."""
    for place, argument in enumerate(arguments):
        inner = isinstance(argument, list)
        tensor = argument[0] if inner else argument
        if not isinstance(tensor, torch.Tensor):
            continue
        for name, change in changes.items():
            bad = change(tensor)
            yield f"{place}, {name}", (*arguments[:place], [bad] if inner else bad, *arguments[place + 1 :])


@pytest.mark.parametrize("name", CALLS)
def test_every_tensor_of_every_operator_is_checked(name):
    getattr(ops, name)(*CALLS[name])
    optional = {("gram", "1, none")}
    for case, arguments in broken(CALLS[name], WRONG | NO_TENSOR):
        if (name, case) in optional:
            continue
        with pytest.raises(GraphError, match=f"spectral_graph::{name}"):
            getattr(ops, name)(*arguments)
            pytest.fail(f"{name} took argument {case}")
    raw = getattr(torch.ops.spectral_graph, name).default
    full = (*CALLS[name], *(0.0, False)[: 2 * (name == "topc_affinity")], *[0.0] * (name == "cosine_topc"))
    full = (*full, 0.9, 0.999, 1e-8) if name == "adam_rows_" else full
    raw(*full)
    for case, arguments in broken(full, WRONG):
        with pytest.raises((RuntimeError, GraphError), match="spectral_graph::"):
            raw(*arguments)
            pytest.fail(f"the raw {name} took argument {case}")


def test_a_matrix_made_ready_checks_its_operand():
    product = ops.CsrProduct(INDPTR, INDICES, VALUES, 2)
    assert torch.equal(product(X), ops.csr_spmm(INDPTR, INDICES, VALUES, X))
    for bad in (X[:1], X.T.contiguous(), X[0], X[None], X.to(torch.complex64), X.int(), X.numpy(), None, X.to_sparse()):
        with pytest.raises(GraphError, match="spectral_graph::csr_spmm"):
            product(bad)
    for columns in (2.0, "2", None, -1):
        with pytest.raises(GraphError, match="columns"):
            ops.CsrProduct(INDPTR, INDICES, VALUES, columns)


def test_what_is_written_in_place_is_not_read_as_well():
    x = torch.ones(3, 4)
    with pytest.raises(GraphError, match="x and y"):
        ops.chebyshev_step_(INDPTR, INDICES, VALUES, x[:2], x[:2].clone(), x[1:], 1.0, 0.0, 0.0)
    with pytest.raises(GraphError, match="x and v"):
        ops.adam_rows_(x, x.clone(), x, x, torch.ones(3), 0.1)
    own = torch.ones(2, 4)
    ops.chebyshev_step_(INDPTR, INDICES, VALUES, torch.ones(2, 4), own, own, 1.0, 1.0, 0.0)
    assert own.tolist() == [[3.0] * 4, [2.0] * 4]
