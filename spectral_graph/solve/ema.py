"""The exponential moving average of a bank, kept lazily: an image is averaged when it is visited.

The average takes one step at each visit of a mini-batch, for all images: ema <- d ema + (1 - d) x. Between its visits
an image does not change, so k such steps are one: ema <- d^k ema + (1 - d^k) x. Only the mini-batch is read and
written.
"""

from __future__ import annotations

import numpy as np


def advance(ema: np.ndarray, x: np.ndarray, steps: np.ndarray, decay: float) -> np.ndarray:
    """Return the average after more steps with an unchanged x.

    Args:
        ema: (images * nodes, C) float32.
        x: the same shape.
        steps: (images,) how many steps each image takes, 0 for none.
        decay: d, how much of the average stays in a step.
    """
    share = (1 - decay ** steps.astype(np.float64)).astype(np.float32)
    shape = (len(steps), -1, ema.shape[1])
    before = ema.reshape(shape)
    return np.asarray(before + share[:, None, None] * (x.reshape(shape) - before)).reshape(ema.shape)
