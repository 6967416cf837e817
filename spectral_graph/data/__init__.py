"""Images and label maps: the data sets, reading and preprocessing. Needs no torch."""

from spectral_graph.data.dataset import Dataset, ImageRecord
from spectral_graph.data.labels import LabelSet
from spectral_graph.data.preprocess import Prepared, Preprocess, crop_label, network_size, parse_size
from spectral_graph.data.registry import DATASETS, open_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "ImageRecord",
    "LabelSet",
    "Prepared",
    "Preprocess",
    "crop_label",
    "network_size",
    "open_dataset",
    "parse_size",
]
