"""The photos that come with the package: COCO photos whose licences allow it, with 27 coarse classes."""

from __future__ import annotations

import json
from pathlib import Path

from spectral_graph.data.dataset import ImageRecord
from spectral_graph.data.indexed import IndexedDataset
from spectral_graph.data.labels import COARSE_CLASSES, coarse_table
from spectral_graph.errors import DataError, MissingDataError

SAMPLE_FOLDER = Path(__file__).parent / "sample"


class Sample(IndexedDataset):
    """COCO train2017 photos under CC BY, CC BY-SA or without known restrictions; ``sample.json`` names each licence.

    Label maps store the index into COARSE_CLASSES, 255 where ignored.

    Args:
        root: a folder with ``sample.json`` and the files that it names.

    Raises:
        MissingDataError: the sample is not part of this installation.
        DataError: sample.json is damaged.
    """

    name = "coco"
    split = "sample"
    classes = COARSE_CLASSES

    def __init__(self, root: Path = SAMPLE_FOLDER) -> None:
        source = root / "sample.json"
        try:
            entries = json.loads(source.read_bytes())["images"]
            records = [ImageRecord(e["id"], root / e["file"], root / e["label"]) for e in entries]
            self._licences = {e["id"]: (e["licence"], e["flickr_url"]) for e in entries}
        except FileNotFoundError as error:
            raise MissingDataError(
                f"{source} is missing: the built-in sample is not part of this installation; "
                "install the package again, or name a data set with --root"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{source} is damaged ({error}); install the package again") from error
        self.records = sorted(records, key=lambda record: record.id)
        self.annotations = (source,)
        self.table = coarse_table()

    def licence(self, record: ImageRecord) -> tuple[str, str]:
        """Return the name of the photo's licence and its address at Flickr."""
        name, source = self._licences[record.id]
        return name, source
