"""What stages `solve` and `orthogonalise` note beside their banks, checked as it is read back."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.bank import Bank
from spectral_graph.io.validation import validated
from spectral_graph.runs.manifest import renamed

_Values = Annotated[list[float], Field(min_length=1)]


class Optimality(TypedDict):
    """How good a solution is by Eqn. 3: its value, and what it has in common with the exact one, if that is known."""

    value: float
    optimum: float | None
    overlap: float | None
    angles: _Values | None


class Round(TypedDict):
    """One round of the Chebyshev solver."""

    step: int
    residual: float


class Step(TypedDict):
    """One step of Adam, as the history keeps it."""

    step: int
    loss: float
    eigenvalue: float
    orthogonality: float
    gradient_norm: float


class ChebyshevNotes(TypedDict):
    """Beside `<kind>/bank` of `--solver chebyshev`."""

    solver: Literal["chebyshev"]
    rayleigh_quotients: _Values
    eigenvalues: _Values
    residuals: _Values
    converged: bool
    device: NotRequired[str]
    off_diagonal: NotRequired[float]
    history: list[Round]
    optimality: NotRequired[Optimality]


class AdamNotes(TypedDict):
    """Beside `<kind>/bank` of `--solver adam`."""

    solver: Literal["adam"]
    rayleigh_quotients: _Values
    objective: str
    ema: float
    history: list[Step]
    optimality: NotRequired[Optimality]


class OrthogonalNotes(TypedDict):
    """Beside `<kind>/ortho`."""

    order: str
    off_diagonal: float
    rayleigh_quotients: _Values


SolutionNotes = Annotated[ChebyshevNotes | AdamNotes, Field(discriminator="solver")]
_SOLUTION: TypeAdapter[ChebyshevNotes | AdamNotes] = TypeAdapter(SolutionNotes)
_ORTHOGONAL = TypeAdapter(OrthogonalNotes)


def solution_notes(bank: Bank) -> ChebyshevNotes | AdamNotes:
    """Return the notes of `<kind>/bank`.

    Raises:
        FormatError: an entry is missing or of another type.
    """
    place = f"notes of {bank.path / 'bank.json'}"
    return validated(renamed(bank.notes), _SOLUTION, place, "recompute with `force=solve`")


def orthogonal_notes(bank: Bank) -> OrthogonalNotes:
    """Return the notes of `<kind>/ortho`.

    Raises:
        FormatError: an entry is missing or of another type.
    """
    cure = "recompute with `force=orthogonalise`"
    return validated(bank.notes, _ORTHOGONAL, f"notes of {bank.path / 'bank.json'}", cure)
