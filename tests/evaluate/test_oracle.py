"""Oracle decoding against a loop over regions."""

import numpy as np
import pytest

from spectral_graph.evaluate import confusion
from spectral_graph.evaluate.oracle import Oracle


def test_oracle_is_that_of_a_loop_over_regions():
    generator = np.random.default_rng(0)
    oracle = Oracle(["x", "y", "z"])
    total = np.zeros((3, 3), int)
    expected = []
    for _ in range(4):
        regions = generator.integers(0, 4, (5, 6))
        label = np.kron(generator.integers(-1, 3, (5, 6)), np.ones((2, 2), int)).astype(np.int16)
        large = np.kron(regions, np.ones((2, 2), int))
        decoded = np.zeros_like(large)
        for region in range(4):
            inside = label[(large == region) & (label >= 0)]
            decoded[large == region] = np.bincount(inside, minlength=3).argmax() if inside.size else 0
        counts = confusion(decoded, label, 3, 3)
        union = counts.sum(0) + counts.sum(1) - counts.diagonal()
        expected.append((counts.diagonal()[union > 0] / union[union > 0]).mean())
        total += counts
        assert oracle.add(regions, label) == pytest.approx(expected[-1])
    assert oracle.add(np.zeros((2, 2), int), np.full((4, 4), -1)) is None
    union = total.sum(0) + total.sum(1) - total.diagonal()
    assert oracle.per_photo == pytest.approx(np.mean(expected))
    assert oracle.whole == pytest.approx((total.diagonal() / union).mean())
    assert Oracle(["x"]).per_photo is None and Oracle(["x"]).whole is None
