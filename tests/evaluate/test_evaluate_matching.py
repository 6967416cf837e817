from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spectral_graph.errors import DataError
from spectral_graph.evaluate import greedy, hungarian

COUNTS = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 6))
)


@given(COUNTS)
def test_greedy_takes_the_first_largest(counts):
    assert greedy(counts).tolist() == [row.index(max(row)) for row in counts.tolist()]


@given(COUNTS)
def test_hungarian_is_the_best_of_all_permutations(counts):
    clusters, classes = counts.shape
    matching = hungarian(counts)
    used = [c for c in matching.tolist() if c >= 0]
    assert len(used) == len(set(used)) == min(clusters, classes)
    assert matching.shape == (clusters,)
    agreed = sum(counts[p, c] for p, c in enumerate(matching.tolist()) if c >= 0)
    wide = counts if clusters <= classes else counts.T
    best = max(sum(wide[i, j] for i, j in enumerate(order)) for order in permutations(range(wide.shape[1]), len(wide)))
    assert agreed == best


@given(COUNTS)
def test_greedy_never_agrees_on_fewer_pixels(counts):
    def agreed(matching):
        return sum(counts[p, c] for p, c in enumerate(matching.tolist()) if c >= 0)

    assert agreed(greedy(counts)) >= agreed(hungarian(counts))


def test_surplus_clusters_are_unmatched():
    assert hungarian(np.array([[5, 0], [4, 0], [0, 3]])).tolist() == [0, -1, 1]


def test_counts_beyond_int32():
    big = 2**40
    assert hungarian(np.array([[big, big + 1], [big, big]])).tolist() == [1, 0]


@pytest.mark.parametrize("match", [greedy, hungarian])
def test_bad_matrix(match):
    with pytest.raises(DataError, match="shape"):
        match(np.zeros(3, dtype=int))
