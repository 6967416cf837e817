"""The comparisons of test_gpu.py, run on the CPU: right results are accepted, wrong ones are refused.

`cuda` is replaced by a copy. Each fault is one that a relative tolerance of 1e-3 with an absolute one of 1e-2 lets pass
in some element, or that rounding can be mistaken for.
"""

from __future__ import annotations

import bounds
import numpy as np
import pytest
import test_gpu as gpu
import torch
from matrices import row_lengths

from spectral_graph import ops

LENGTHS = row_lengths()
CASES = {
    "csr_spmm": [(gpu.test_csr_spmm_of_bfloat16, (50,)), (gpu.test_csr_spmm_has_derivatives, ())],
    "rayleigh": [(gpu.test_rayleigh, (LENGTHS["hubs"],)), (gpu.test_rayleigh_has_a_derivative, ())],
    "rayleigh, large": [(gpu.test_rayleigh, (gpu.LARGE,))],
    "csr_symmetrise": [(gpu.test_csr_transpose_and_csr_symmetrise, (LENGTHS["hubs"],))],
    "csr_sddmm": [
        (gpu.test_csr_sddmm_and_csr_spmm_transposed, (LENGTHS["hubs"], torch.float32)),
        (gpu.test_csr_sddmm_and_csr_spmm_transposed, (LENGTHS["hubs"], torch.float64)),
    ],
    "csr_spmm_transposed": [
        (gpu.test_csr_sddmm_and_csr_spmm_transposed, (LENGTHS["hubs"], torch.float32)),
    ],
    "adam_rows_": [(gpu.test_adam_rows, (50, torch.int64)), (gpu.test_adam_rows, (3, torch.float32))],
    "gram": [(gpu.test_gram, (5000, 130, 7))],
    "rotate": [(gpu.test_rotate, (77, 130, 67))],
    "chebyshev_step_": [
        (gpu.test_chebyshev_step, (LENGTHS["hubs"], 1.5, -0.25, -1.0)),
        (gpu.test_chebyshev_step, (gpu.LARGE, 0.5, 2.0, 0.0)),
        (gpu.test_chebyshev_step_in_place_of_its_own_rows, ()),
    ],
    "unit_project": [
        (gpu.test_unit_project, (77, 33, torch.float32)),
        (gpu.test_unit_project, (503, 384, torch.float16)),
    ],
}


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch, one_thread):
    torch.manual_seed(0)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor.clone())


@pytest.mark.parametrize("name", CASES)
def test_right_results_are_accepted(name):
    for case, arguments in CASES[name]:
        case(*arguments)
    for lengths in (*LENGTHS.values(), gpu.LARGE) if name == "csr_spmm" else ():
        csr, x = gpu.square(lengths, 500), torch.randn(500, 50)
        bounds.require_within(ops.csr_spmm(*csr, x), bounds.spmm(*csr, x))
    for lengths in ([], LENGTHS["empty"], LENGTHS["one"]) if name == "rayleigh" else ():
        gpu.test_rayleigh(lengths)
        gpu.test_chebyshev_step(lengths, 1.5, -0.25, -1.0)


def spoiled(value: torch.Tensor, fault: str) -> torch.Tensor:
    """A result with a fault, where it has any element."""
    if value.numel() == 0 or not value.is_floating_point():
        return value
    flat = value.detach().clone().reshape(-1)
    if fault == "one element":
        flat[0] += 5e-3
    elif fault == "all by little":
        flat *= 1 + 5e-4
    else:
        flat = flat.half().to(flat.dtype)
    return flat.reshape(value.shape)


@pytest.mark.parametrize("fault", ["one element", "all by little", "half precision"])
@pytest.mark.parametrize("name", CASES)
def test_wrong_results_are_refused(monkeypatch, name, fault):
    op = name.split(",")[0]
    real = getattr(ops, op)

    def faulty(*arguments, **more):
        result = real(*arguments, **more)
        if op == "adam_rows_":
            arguments[0].copy_(spoiled(arguments[0], fault))
        elif op == "chebyshev_step_":
            arguments[5].copy_(spoiled(arguments[5], fault))
        elif isinstance(result, tuple):
            return *result[:-1], spoiled(result[-1], fault)
        else:
            return spoiled(result, fault)
        return result

    monkeypatch.setattr(ops, op, faulty)
    for case, arguments in CASES[name]:
        if case in (gpu.test_rayleigh_has_a_derivative, gpu.test_csr_spmm_has_derivatives):
            continue  # a spoiled result has no derivative
        torch.manual_seed(0)
        with pytest.raises(AssertionError, match="bounds away"):
            case(*arguments)


@pytest.mark.parametrize(("index", "by"), [(0, 3e-6), (1, 3e-6), (2, 1e-4)])
def test_each_part_of_a_result_is_compared(index, by):
    x, mean, basis = torch.randn(50, 40), torch.randn(40), torch.randn(40, 16)
    got = list(ops.unit_project(x, mean, basis))
    for part, expected in zip(got, bounds.unit_project(x, mean, basis), strict=True):
        bounds.require_within(part, expected)
    got[index].view(-1)[7] += by * float(got[index].abs().max())
    with pytest.raises(AssertionError):
        for part, expected in zip(got, bounds.unit_project(x, mean, basis), strict=True):
            bounds.require_within(part, expected)


def test_a_product_that_lacks_an_entry_or_takes_another_row_is_refused():
    indptr, indices, values = gpu.square(LENGTHS["hubs"], 500)
    x = torch.randn(500, 6)
    expected = bounds.spmm(indptr, indices, values, x)
    for row in np.flatnonzero(np.diff(indptr)):
        lacking, other = values.clone(), indices.clone()
        lacking[int(indptr[row])] = 0
        other[int(indptr[row])] = (other[int(indptr[row])] + 1) % 500
        for wrong in (ops.csr_spmm(indptr, indices, lacking, x), ops.csr_spmm(indptr, other, values, x)):
            with pytest.raises(AssertionError, match="bounds away"):
                bounds.require_within(wrong, expected)


def test_nan_and_shapes_are_refused():
    expected = np.zeros((2, 2)), np.ones((2, 2))
    for wrong in (torch.full((2, 2), torch.nan), torch.zeros(2), torch.zeros(4)):
        with pytest.raises(AssertionError):
            bounds.require_within(wrong, expected)
