"""The graph of one layer in scope `dataset`, with neighbours found by brute force."""

import numpy as np
import torch

from spectral_graph.graph.affinity import nearest
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.dataset_scope import LayerBuilder, plan_blocks

FACTS = {"recall": 1.0}


class BruteForce:
    """The nearest nodes of other images, all at once: a stand-in for a search."""

    def __init__(self, query, key, image_ptr, count, threshold):
        self.lists = nearest(query, key, torch.from_numpy(image_ptr), (0, count), threshold)

    def csr(self, start, stop):
        return self.lists.part(start, stop)


def vectors(nodes, width, seed, hub=False):
    rows = np.random.default_rng(seed).standard_normal((nodes, width)).astype(np.float32)
    if hub:
        rows[:, 0] += 1.5  # what all have in common makes some nodes near to all others
    return torch.from_numpy(rows)


def build(folder, query, key, image_ptr, selection, block_nodes, layer="a", stop_after=None, store=None):
    """Build one layer; `stop_after` blocks leave it unfinished, as an interruption would."""
    store = store or GraphStore.create(
        folder / "graph.zarr", {"nodes": int(image_ptr[-1]), "rounds": 1, "scope": "dataset", "layers": ["a", "b"]}
    )
    bounds = plan_blocks(image_ptr, block_nodes)
    builder = LayerBuilder(store, layer, image_ptr, bounds, selection, key is None, folder / "work" / layer)

    def intra(start, stop):
        rows = slice(image_ptr[start], image_ptr[stop])
        part = torch.from_numpy(image_ptr[start : stop + 1] - image_ptr[start])
        counts = (selection.candidates[0], 0)
        return nearest(query[rows], None if key is None else key[rows], part, counts, selection.threshold)

    inter = None
    if len(image_ptr) > 2:
        inter = BruteForce(query, key, image_ptr, selection.candidates[1], selection.threshold)
    for count, _ in enumerate(builder.build(intra, inter, FACTS), start=1):
        if count == stop_after:
            return store
    return store


def dense_of(store, prefix, nodes):
    """Put the stored rows of all blocks into one matrix, without any code of ours but the reading."""
    total = np.zeros((nodes, nodes))
    for name in store.names(prefix):
        block = store.read(name)
        columns = block.rows if block.columns is None else block.columns
        r = np.repeat(block.rows, np.diff(block.indptr))
        total[r, columns[block.indices]] += block.values
    return total
