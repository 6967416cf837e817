"""The number of regions on constructed rows."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from spectral_graph.errors import ConfigError
from spectral_graph.per_image.analysis import eigengap, find_regions
from spectral_graph.per_image.options import make_image_config


def blobs(k, each=20, seed=0, spread=0.05):
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((k, 4)) * 3
    return np.concatenate([centre + spread * generator.standard_normal((each, 4)) for centre in centres])


def regions_of(rows, values=(0.0,), **options):
    return find_regions(rows, cdist(rows, rows), np.array(values), make_image_config(options))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_silhouette_finds_the_number_of_blobs(k):
    found = regions_of(blobs(k), clusters="2-8")
    assert found.k == k
    assert len({tuple(np.unique(part)) for part in found.labels.reshape(k, -1)}) == k
    assert found.finest.max() == 7


def test_eigengap_takes_the_largest_gap():
    values = np.array([1.0, 0.95, 0.9, 0.4, 0.35])
    assert eigengap(values, range(2, 11)) == 3
    assert eigengap(np.array([1.0, 0.8, 0.6, 0.4]), range(2, 4)) == 2
    with pytest.raises(ConfigError, match="`channels`"):
        eigengap(values, range(5, 9))
    assert regions_of(blobs(2), values, clusters="2-5", choose="eigengap", kmeans_init=1).k == 3


@pytest.mark.parametrize("distinct", [1, 2, 3])
def test_too_few_distinct_rows_end_the_search(distinct):
    found = regions_of(np.eye(4)[np.arange(12) % distinct], clusters="2-10", kmeans_init=1)
    assert found.k == distinct
    assert found.labels.max() == distinct - 1


def test_clusters_of_one_point_each_have_a_silhouette_of_zero():
    found = regions_of(np.eye(3), clusters="3", kmeans_init=1)
    assert (found.k, found.silhouettes) == (3, {3: 0.0})
