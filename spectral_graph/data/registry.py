"""Opening a data set by its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from spectral_graph.data.coco import CocoPanoptic
from spectral_graph.data.dataset import Dataset
from spectral_graph.data.folder import ImageFolder
from spectral_graph.data.indexed import CamVid, Cityscapes, CocoStuff, Voc
from spectral_graph.data.labels import LabelSet
from spectral_graph.data.sample import Sample
from spectral_graph.data.walk import SUFFIXES
from spectral_graph.errors import ConfigError, DataError, MissingDataError
from spectral_graph.options.ignored_values import parse_ignore

DATASETS = ("coco", "cocostuff", "cityscapes", "voc", "camvid", "folder")

VARIABLE = "SPECTRAL_GRAPH_DATA"

_TWO_TABLES: dict[str, Callable[[Path, str | None, LabelSet], Dataset]] = {"coco": CocoPanoptic, "cocostuff": CocoStuff}
_ONE_TABLE: dict[str, Callable[[Path, str | None], Dataset]] = {"cityscapes": Cityscapes, "voc": Voc, "camvid": CamVid}


def open_dataset(
    name: str,
    root: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    labels: LabelSet = "coarse",
    ignore: str = "auto",
) -> Dataset:
    """Open a data set.

    Args:
        name: one of DATASETS.
        root: its folder. None: the folder `name` below $SPECTRAL_GRAPH_DATA, or $SPECTRAL_GRAPH_DATA itself; for
            ``coco`` without that variable, and for ``coco`` with split ``sample``, the built-in sample.
        split: ``val2017`` or ``val`` if None.
        limit: number of images to use, the first ones in the order of their ids.
        labels: ``coarse`` or ``fine`` classes of ``coco`` (27, 133) and ``cocostuff`` (27, 182).
        ignore: label values of ``folder`` that count as unlabelled: ``auto``, ``none``, or numbers divided by commas.

    Returns:
        The data set, with at least one image.

    Raises:
        ConfigError: an unknown name, a limit below 1, a split, class table or ignored value that this data set does
            not have.
        MissingDataError: the folder or a part of it is missing.
        DataError: a file of the data set is damaged, there is no image, or no label map can be used.
        UnsafePathError: a file of the data set names one outside its folder.
    """
    if name not in DATASETS:
        raise ConfigError(f"data set {name!r} is unknown; use one of {', '.join(DATASETS)}")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit {limit} leaves no image; use 1 or more, or leave it out for all images")
    if labels not in ("coarse", "fine"):
        raise ConfigError(f"labels {labels!r} is unknown; use coarse or fine")
    folder = _locate(name, None if root is None else Path(root), split)
    if labels == "fine" and (folder is None or name not in _TWO_TABLES):
        has = "the built-in sample" if folder is None else name
        raise ConfigError(f"{has} has one set of classes; fine labels exist for coco and cocostuff read with `root`")
    ignored = _ignored_values(name, ignore)
    dataset: Dataset
    if folder is None:
        dataset = Sample()
    elif name in _TWO_TABLES:
        dataset = _TWO_TABLES[name](folder, split, labels)
    elif name in _ONE_TABLE:
        dataset = _ONE_TABLE[name](folder, split)
    elif split is None:
        dataset = ImageFolder(folder, ignored)
    else:
        raise ConfigError(f"a folder of images has no split {split!r}; leave `split` out, or name the folder itself")
    dataset.root = folder
    if not dataset.records:
        if name == "folder":
            left_out = "".join(f"; {sentence}" for sentence in dataset.left_out)
            looked_for = " ".join(SUFFIXES)
            raise DataError(
                f"{folder}: no image in this folder or below (looked for {looked_for}){left_out}; check `root`"
            )
        raise DataError(f"{folder}: the data set {name} (split {dataset.split}) has no image; check `root` and `split`")
    if folder is None and split is None:
        count = len(dataset.records)
        dataset.notes = (f"no `root` and no {VARIABLE}: using the built-in sample of {count} COCO photos",)
    dataset.records = dataset.records[:limit]
    dataset.inspect_labels()
    return dataset


def _ignored_values(name: str, ignore: str) -> tuple[int, ...] | None:
    try:
        values = parse_ignore(ignore)
    except ValueError as error:
        raise ConfigError(f"`ignore={ignore!a}`: {error}") from None
    if values is not None and name != "folder":
        raise ConfigError(f"`ignore={ignore}`: the label values of {name} are fixed; leave the option out")
    return values


def _locate(name: str, root: Path | None, split: str | None) -> Path | None:
    """Return the folder of the data set, None for the built-in sample."""
    if root is not None:
        if not root.is_dir():
            raise MissingDataError(f"`root={root}` is not a folder; name the folder of the {name} data set")
        return root
    if name == "coco" and split == Sample.split:
        return None
    value = os.environ.get(VARIABLE)
    if value:
        base = Path(value).expanduser()
        if not base.is_dir():
            raise MissingDataError(f"{VARIABLE}={value} is not a folder; correct it, or name the data with `root`")
        below = [base / folder for folder in (("voc", "voc2012") if name == "voc" else (name,))]
        return next((folder for folder in below if folder.is_dir()), base)
    if name == "coco" and split is None:
        return None
    what = f"the split {split!r} of coco is not built in (only 'sample' is)" if name == "coco" else f"no {name} folder"
    raise MissingDataError(f"{what}; name the folder with `root`, or its parent with {VARIABLE}")
