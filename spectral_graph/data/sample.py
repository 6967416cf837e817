"""The photos that come with the package: COCO photos whose licences allow it, with 27 coarse classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, StrictStr, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.data.dataset import ImageRecord
from spectral_graph.data.indexed import IndexedDataset
from spectral_graph.data.labels import COARSE_CLASSES, value_table
from spectral_graph.data.text_file import read_bytes, refuse_repetition
from spectral_graph.errors import DataError, MissingDataError
from spectral_graph.io.inside import inside

SAMPLE_FOLDER = Path(__file__).parent / "sample"


class _Entry(TypedDict):
    """One photo in sample.json."""

    id: Annotated[StrictStr, Field(min_length=1)]
    file: StrictStr
    label: StrictStr
    licence: StrictStr
    flickr_url: StrictStr


_FORM = TypeAdapter(list[_Entry])


class Sample(IndexedDataset):
    """COCO train2017 photos under CC BY, CC BY-SA or without known restrictions; ``sample.json`` names each licence.

    Label maps store the index into COARSE_CLASSES, 255 where ignored.

    Args:
        root: a folder with ``sample.json`` and the files that it names.

    Raises:
        MissingDataError: the sample is not part of this installation.
        DataError: sample.json is damaged.
        UnsafePathError: sample.json names a file outside its folder.
    """

    name = "coco"
    split = "sample"
    classes = COARSE_CLASSES
    table = value_table(range(27), [255])

    def __init__(self, root: Path = SAMPLE_FOLDER) -> None:
        source = root / "sample.json"
        try:
            entries = json.loads(read_bytes(source))["images"]
            _FORM.validate_python(entries)
        except FileNotFoundError as error:
            raise MissingDataError(
                f"{source} is missing: the built-in sample is not part of this installation; "
                "install the package again, or name a data set with `root`"
            ) from error
        except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
            why = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(f"{source} is damaged ({why}); install the package again") from error
        records = [
            ImageRecord(
                entry["id"],
                inside(root, entry["file"], source, follow_links=True),
                inside(root, entry["label"], source, follow_links=True),
            )
            for entry in entries
        ]
        refuse_repetition((record.id for record in records), source)
        self._licences = {entry["id"]: (entry["licence"], entry["flickr_url"]) for entry in entries}
        self.records = sorted(records, key=lambda record: record.id)
        self.annotations = (source,)

    def licence(self, record: ImageRecord) -> tuple[str, str]:
        """Return the name of the photo's licence and its address at Flickr."""
        name, source = self._licences[record.id]
        return name, source
