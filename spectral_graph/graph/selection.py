"""How the neighbours of a node are chosen, in either scope."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from spectral_graph.errors import ConfigError, GraphError
from spectral_graph.graph.csr_rows import CsrRows
from spectral_graph.graph.hubs import CANDIDATES, Hubs, choose_scaled, keep_best, keep_common, mean_of_best

TINY = 2 * float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Selection:
    """Which affinities become edges, and with which weight.

    Attributes:
        c_intra: neighbours inside the own image.
        c_inter: neighbours in other images.
        threshold: cosines below are dropped.
        sharpen: exponent of the kept cosines; above 1, near neighbours count more than far ones.
        hubs: what is done about hubs, see `spectral_graph.graph.hubs`.
        hub_cap: cap: a node keeps at most hub_cap (c_intra + c_inter) of those that chose it.
    """

    c_intra: int
    c_inter: int
    threshold: float = 0.0
    sharpen: float = 1.0
    hubs: Hubs = "none"
    hub_cap: float = 3.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: one is out of its range; the message names it.
        """
        if self.hubs not in get_args(Hubs):
            raise ConfigError(f"`hubs={self.hubs!r}`: give one of {', '.join(get_args(Hubs))}")
        for name in ("c_intra", "c_inter"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
                raise ConfigError(f"`{name}={count}`: give a whole number, 0 or more")
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"`threshold={self.threshold}`: give a number, 0 or more, below 1")
        for name in ("sharpen", "hub_cap"):
            if not 0 < getattr(self, name) < np.inf:
                raise ConfigError(f"`{name}={getattr(self, name)}`: give a finite number above 0")

    @property
    def candidates(self) -> tuple[int, int]:
        """Neighbours to search inside and outside the own image."""
        factor = CANDIDATES if self.hubs == "csls" else 1
        return factor * self.c_intra, factor * self.c_inter

    def wanted(self, images: int) -> int:
        """Return the neighbours that a node has where enough affinities reach the threshold."""
        return self.c_intra + (self.c_inter if images > 1 else 0)

    def require_room(self, sizes: np.ndarray, cure: str = "") -> None:
        """Refuse more neighbours than there are nodes.

        Args:
            sizes: (images,) nodes of each image.
            cure: what helps beside a lower c_inter, for the message.

        Raises:
            GraphError: c_intra exceeds the nodes of the largest image, or c_inter the nodes of the others.
        """
        largest, others = int(sizes.max()), int(sizes.sum() - sizes.min())
        if self.c_intra > largest - 1:
            raise GraphError(
                f"c_intra is {self.c_intra}, but an image has {largest} nodes, so a node has at most {largest - 1} "
                "neighbours in it; lower `c_intra`"
            )
        if len(sizes) > 1 and self.c_inter > others:
            raise GraphError(
                f"c_inter is {self.c_inter}, but the other images have {others} nodes; lower `c_inter`{cure}"
            )

    def within(self, sizes: np.ndarray) -> Selection:
        """Return the selection with no more neighbours than there are nodes; `sizes` (images,): nodes of each image."""
        inside, outside = int(sizes.max()) - 1, int(sizes.sum() - sizes.max())
        return replace(self, c_intra=min(self.c_intra, inside), c_inter=min(self.c_inter, outside))

    def scales(self, lists: CsrRows, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the csls scales of the rows of `lists`, inside and outside the own image, (n,) float64 each."""
        counts = self.c_intra, self.c_inter
        inside, outside = (
            mean_of_best(lists.where(part), count) for part, count in zip((own, ~own), counts, strict=True)
        )
        return inside, outside

    def choose(self, lists: CsrRows, own: np.ndarray, scales: tuple[np.ndarray, np.ndarray]) -> CsrRows:
        """Choose among the candidates of csls; `scales` are those of all nodes."""
        return choose_scaled(lists, own, scales, (self.c_intra, self.c_inter))

    def weigh(self, lists: CsrRows) -> CsrRows:
        """Return the lists with sharpened values; a power too small for float32 becomes its least normal number."""
        if self.sharpen == 1:
            return lists
        # In float64, so that the rounding of the power cannot depend on how the work is split.
        powers = np.maximum(lists.values.astype(np.float64) ** self.sharpen, TINY)
        return lists.with_values(powers)

    def cap(self, backward: CsrRows, images: int) -> CsrRows:
        """Return, of the lists of those that chose each node, the nearest ones (hubs = cap)."""
        return keep_best(backward, max(1, int(self.hub_cap * self.wanted(images))))

    def mutual(self, lists: CsrRows, other: CsrRows, nodes: int) -> CsrRows:
        """Return the neighbours that have chosen back (hubs = mutual); `other` are the same rows of the transpose."""
        return keep_common(lists, other, nodes)
