"""Classes of a folder, from the values that its label maps hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spectral_graph.data.dataset import ImageRecord
from spectral_graph.data.label_map import look_up, read_index_map, unknown_value
from spectral_graph.data.labels import IGNORED
from spectral_graph.data.read_ahead import read_ahead
from spectral_graph.data.text_file import MOST_CLASSES
from spectral_graph.errors import DataError, ImageError

UNLABELLED = (-1, 255, 65_535)
"""Values ignored by default: the marks of an unlabelled pixel in signed, 8-bit and 16-bit maps."""

FOLDER_CLASSES = "the classes of this folder"
_LISTED = 12
_AHEAD = 16


@dataclass(frozen=True)
class FoundValues:
    """Values that the label maps hold.

    Attributes:
        values: value -> number of label maps that hold it.
        unusable: (id, reason) of those that cannot be decoded or hold a value that is not known.
    """

    values: dict[int, int]
    unusable: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class ValueClasses:
    """Classes by stored value.

    Attributes:
        names: of the classes, in the order of their values.
        stored: (S,) int32 ascending: all values that label maps may hold.
        classes: (S,) int16: the class of each, IGNORED for those that count as unlabelled.
        notes: sentences about these decisions.
    """

    names: tuple[str, ...]
    stored: np.ndarray
    classes: np.ndarray
    notes: tuple[str, ...]

    @property
    def void(self) -> set[int]:
        """Stored values that count as unlabelled."""
        return set(self.stored[self.classes == IGNORED].tolist())

    def translate(self, values: np.ndarray, path: Path) -> np.ndarray:
        """Return the class map (H, W) int16 of a label map (H, W); ImageError if a value is no class."""
        if not len(self.stored):
            raise ImageError(f"{path}: this folder has no class; check `ignore`")
        classes, known = look_up(values, self.stored, self.classes)
        if not known.all():
            raise ImageError(unknown_value(values, ~known, path, FOLDER_CLASSES))
        return classes


def find_values(records: Sequence[ImageRecord], known: Collection[int] | None) -> FoundValues:
    """Read all label maps once, several at a time.

    Args:
        records: of the data set; those without a label map are skipped.
        known: values that label maps may hold. If None, every value is a class.

    Raises:
        DataError: `known` is None, and there are more than MOST_CLASSES values.
    """
    allowed = None if known is None else np.array(sorted(known), np.int32)

    def read(record: ImageRecord) -> np.ndarray | ImageError:
        assert record.label is not None
        try:
            values = read_index_map(record.label)
        except ImageError as error:
            return error
        found = np.unique(values)
        if allowed is not None and not np.isin(found, allowed).all():
            return ImageError(unknown_value(values, ~np.isin(values, allowed), record.label, FOLDER_CLASSES))
        return found

    labelled = [record for record in records if record.label is not None]
    values: Counter[int] = Counter()
    unusable: list[tuple[str, str]] = []
    for record, found in zip(labelled, read_ahead(read, labelled, _AHEAD), strict=True):
        if isinstance(found, ImageError):
            unusable.append((record.id, str(found)))
            continue
        values.update(found.tolist())
        if known is None and len(values) > MOST_CLASSES + len(UNLABELLED):
            raise DataError(
                f"{record.label}: the label maps up to this one hold {len(values)} different values, more than "
                f"{MOST_CLASSES}; are they numbers of objects, or depths? Give maps of class numbers"
            )
    return FoundValues(dict(values), tuple(unusable))


def decide_classes(found: FoundValues, names: tuple[str, ...] | None, ignore: tuple[int, ...] | None) -> ValueClasses:
    """Map stored values to classes.

    Without names each value that occurs is a class, named by its number; with names line i is value i.

    Args:
        found: values of the label maps.
        names: of classes.txt, None without it.
        ignore: values that count as unlabelled. If None: those of UNLABELLED that have no name, except the foreground
            of masks of 0 and 255 (or 65535).

    Raises:
        DataError: more than MOST_CLASSES values are classes.
    """
    notes: list[str] = []
    mask = _mask(found.values) if ignore is None and (names is None or len(names) == 2) else None
    named = range(len(names or ()))
    if ignore is not None:
        void = set(ignore)
    else:
        void = {value for value in UNLABELLED if value not in named and value != mask}
    if names is None:
        classes = {value: str(value) for value in sorted(found.values.keys() - void)}
    else:
        classes = {value: name for value, name in enumerate(names) if value not in void}
        if mask is not None:
            classes = {0: names[0], mask: names[1]}
    if len(classes) > MOST_CLASSES:
        raise DataError(f"the label maps hold {len(classes)} values, more than {MOST_CLASSES} classes")
    if mask is not None:
        both = " and ".join(classes.values())
        notes.append(f"the label maps are masks of 0 and {mask}: two classes, {both} (`ignore={mask}` leaves one)")
    elif names is None:
        notes.append(f"the label maps hold {_count(len(classes), 'class', 'classes')}: {_listed(classes.values())}")
    elif absent := [name for value, name in classes.items() if value not in found.values]:
        notes.append(f"no label map holds {len(absent)} of the {len(classes)} classes of classes.txt")
    notes += [
        f"value {value} counts as unlabelled, in {_count(found.values[value], 'label map', 'label maps')} (`ignore`)"
        for value in sorted(void & found.values.keys())
    ]
    for value in sorted(set(ignore or ()) - found.values.keys()):
        notes.append(f"no label map holds the value {value} of `ignore`")
    if len(classes) == 1:
        notes.append("scores over a single class are meaningless")
    stored = sorted(classes.keys() | void)
    index = {value: place for place, value in enumerate(classes)}
    return ValueClasses(
        tuple(classes.values()),
        np.array(stored, np.int32),
        np.array([index.get(value, IGNORED) for value in stored], np.int16),
        tuple(notes),
    )


def _mask(values: dict[int, int]) -> int | None:
    """Return the value of the foreground if the label maps are masks of two values, 0 and a mark of UNLABELLED."""
    found = values.keys() - {-1}
    return next((value for value in UNLABELLED[1:] if found == {0, value}), None)


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:_LISTED]) + (", ..." if len(shown) > _LISTED else "")


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
