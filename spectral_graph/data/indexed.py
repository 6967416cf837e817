"""Data sets whose label maps are single-channel images translated by a fixed table."""

from __future__ import annotations

import numpy as np

from spectral_graph.data.dataset import Dataset, ImageRecord
from spectral_graph.data.label_map import read_index_map, translate


class IndexedDataset(Dataset):
    """A data set with one table from stored values to class ids.

    Attributes:
        table: (V,) int16: class id, IGNORED or UNKNOWN for each stored value.
    """

    table: np.ndarray

    def read_label(self, record: ImageRecord) -> np.ndarray | None:
        """Return the label map (H, W) int16 at its own resolution, -1 where ignored; None where there is none.

        Raises:
            ImageError: the file is damaged, or holds a value that the data set does not have.
        """
        if record.label is None:
            return None
        return translate(read_index_map(record.label), self.table, record.label, self.name)
