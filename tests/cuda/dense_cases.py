"""gram, rotate and adam_rows_ with their references in NumPy."""

from __future__ import annotations

import numpy as np


def check_gram(run, rows: int, left: int, right: int | None = None) -> None:
    """The Gram matrix against NumPy in float64; exactly symmetric where it should be."""
    generator = np.random.default_rng(2)
    x = generator.standard_normal((rows, left)).astype(np.float32)
    y = x if right is None else generator.standard_normal((rows, right)).astype(np.float32)
    shape = np.array([rows, left, y.shape[1], right is None], np.int64)
    (raw,) = run("gram", x, x[:0] if right is None else y, shape)
    got = np.frombuffer(raw).reshape(left, y.shape[1])
    expected = x.T.astype(float) @ y.astype(float)
    bound = (rows + 2) * np.finfo(float).eps * (np.abs(x).T.astype(float) @ np.abs(y).astype(float))
    assert (np.abs(got - expected) <= bound).all(), "gram differs from its reference"
    assert right is not None or (got == got.T).all(), "gram is not symmetric"


def check_rotate(run, rows: int, channels: int, width: int) -> None:
    """X U against NumPy in float64, rounded once."""
    generator = np.random.default_rng(3)
    x = generator.standard_normal((rows, channels)).astype(np.float32)
    u = generator.standard_normal((channels, width))
    (raw,) = run("rotate", x, u, np.array([rows, channels, width], np.int64))
    got = np.frombuffer(raw, np.float32).reshape(rows, width)
    bound = np.finfo(np.float32).eps * (np.abs(x).astype(float) @ np.abs(u))
    assert (np.abs(got - x.astype(float) @ u) <= bound).all(), "rotate differs from its reference"


def adam_step(x, m, v, gradient, step, rate: float, beta1: float, beta2: float, epsilon: float):
    """Algorithm 1 of the Adam paper in float64, a step count a row."""
    count = step.astype(float)[:, None]
    m = beta1 * m.astype(float) + (1 - beta1) * gradient
    v = beta2 * v.astype(float) + (1 - beta2) * gradient.astype(float) ** 2
    hat = np.sqrt(v / (1 - beta2**count))
    return x - rate * (m / (1 - beta1**count)) / (hat + epsilon), m, v


def check_adam(run, rows: int, channels: int, dtype=np.int64, betas=(0.9, 0.999)) -> None:
    """One step from random moments, within a few roundings of float64."""
    generator = np.random.default_rng(7)
    x, m, gradient = (generator.standard_normal((rows, channels)).astype(np.float32) for _ in range(3))
    v = generator.random((rows, channels)).astype(np.float32)
    step = generator.integers(1, 2000, rows).astype(dtype)
    numbers = 0.05, *betas, 1e-8
    name = f"adam_rows_{np.dtype(dtype).name}"
    *raw, fault = run(name, x, m, v, gradient, step, np.array(numbers), np.int64(channels))
    assert np.frombuffer(fault, np.uint64)[0] == 0, "adam_rows_ finds a fault where there is none"
    for part, reference in zip(raw, adam_step(x, m, v, gradient, step, *numbers), strict=True):
        got = np.frombuffer(part, np.float32).reshape(rows, channels)
        error = np.abs(got - reference)
        assert (error <= 2e-6 * (np.abs(reference) + 0.1)).all(), "adam_rows_ differs from its reference"


def check_early_step(run) -> None:
    """A step count below 1 changes nothing and is named."""
    x = np.random.default_rng(8).standard_normal((700, 3)).astype(np.float32)
    for dtype, value in ((np.int64, 0), (np.float32, np.nan)):
        step = np.full(700, 5, dtype)
        step[[300, 650]] = value
        name = f"adam_rows_{np.dtype(dtype).name}"
        *raw, fault = run(name, x, x, x, x, step, np.array([0.1, 0.9, 0.999, 1e-8]), np.int64(3))
        assert np.frombuffer(fault, np.uint64)[0] == 700 - 300, "adam_rows_ misses a step count below 1"
        assert all(part == x.tobytes() for part in raw), "adam_rows_ changed something before a fault"


def cases(run, small: bool):
    """All cases of this family as functions without arguments."""
    tall = 600 if small else 1500
    for shape in ((1, 1, None), (40, 50, None), (tall, 5, None), (33, 70, 9)):
        yield lambda s=shape: check_gram(run, *s)
    for shape in ((1, 1, 1), (70, 50, 50), (65, 17, 67), (3, 0, 4)):
        yield lambda s=shape: check_rotate(run, *s)
    for shape in ((1, 1), (40, 50), (300, 3), (17, 64), (3, 1100), (4, 0), (0, 5)):
        yield lambda s=shape: check_adam(run, *s)
    yield lambda: check_adam(run, 40, 50, np.float32)
    yield lambda: check_adam(run, 40, 50, betas=(0.0, 0.0))
    yield lambda: check_early_step(run)
