"""Which images share a graph block (scope `batch`): seeded mini-batches, several rounds of them."""

from __future__ import annotations

import math

import numpy as np


def plan_batches(n_images: int, batch: int, rounds: int, seed: int) -> list[np.ndarray]:
    """Return the mini-batches of images, each a sorted int64 array.

    Every round shuffles the images and cuts them into ceil(n / batch) mini-batches of nearly equal size, so each
    image is in exactly `rounds` mini-batches and different rounds connect different images (section 3.3 of the
    paper: a mini-batch is optimised, then a new one is sampled). If all images fit into one mini-batch there is
    nothing to shuffle, and one round is returned whatever `rounds` says.
    """
    parts = math.ceil(n_images / batch)
    if parts == 1:
        return [np.arange(n_images)]
    plan = []
    for index in range(rounds):
        order = np.random.Generator(np.random.Philox(key=(seed, index))).permutation(n_images)
        plan += [np.sort(part) for part in np.array_split(order, parts)]
    return plan
