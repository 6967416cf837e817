"""The package is built in floors: a module imports from lower floors and its own unit, and no imports form a circle.

Imports inside functions and those for type checkers count too, so that none hides a circle.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

PACKAGE = "spectral_graph"
ROOT = Path(__file__).resolve().parents[1]

# From the lowest to the highest. Units (folders and files of the top floor) on one floor do not import each other.
FLOORS = (
    ("errors", "memory", "one_thread", "version"),
    ("arguments", "grid_map", "io", "options", "text"),
    ("config", "node_rows", "ops", "progress"),
    ("bank", "data", "features"),
    ("distributed",),
    ("graph",),
    ("report", "segment", "solve", "vectors"),
    ("embed", "evaluate", "runs"),
    ("functional", "stages"),
    ("per_image", "pipeline", "remote"),
    ("cli",),
    ("build",),
)
HEIGHT = {unit: height for height, floor in enumerate(FLOORS) for unit in floor}


def modules(root: Path) -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in (root / PACKAGE).rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a module imports anywhere in its text."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names}
    return {other for other in found if other in known and other != name}


def unit(module: str) -> str:
    """The folder or file of the top floor that a module lies in; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def faults(root: Path) -> list[str]:
    """What breaks the rules."""
    known = modules(root)
    graph = {name: imports(name, path, known) for name, path in known.items()}
    found = []
    for name, others in sorted(graph.items()):
        if unit(name) and unit(name) not in HEIGHT:
            found.append(f"{name} is on no floor")
        # The package itself offers names of all floors, imported on first use.
        for other in sorted(others) if unit(name) else ():
            own, met = unit(name), unit(other)
            if met != own and HEIGHT.get(met, len(FLOORS)) >= HEIGHT.get(own, -1):
                found.append(f"{name} imports {other}")
    try:
        TopologicalSorter({name: others for name, others in graph.items() if unit(name)}).prepare()
    except CycleError as error:
        found.append("circle: " + " > ".join(error.args[1]))
    return found


def test_a_module_imports_lower_floors_alone():
    assert faults(ROOT) == []


def test_every_unit_of_a_floor_exists():
    assert {unit(name) for name in modules(ROOT)} - {""} == set(HEIGHT)


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("io/new.py", "from spectral_graph.graph.blocks import Block\n", "io.new imports spectral_graph.graph.blocks"),
        (
            "ops/new.py",
            "def f():\n    from spectral_graph.stages import solve\n",
            "imports spectral_graph.stages.solve",
        ),
        ("solve/new.py", "from spectral_graph import __version__\n", "solve.new imports spectral_graph"),
        ("solve/new.py", "from ..cli import entry\n", "solve.new imports spectral_graph.cli.entry"),
        ("solve/new.py", "import spectral_graph.report.page\n", "solve.new imports spectral_graph.report.page"),
        ("solve/hubs.py", "from spectral_graph.solve import pins\n", "circle: "),
        ("helpers.py", "", "spectral_graph.helpers is on no floor"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, path, text, found):
    for place in ("graph/blocks", "stages/solve", "cli/entry", "report/page", "solve/pins"):
        file = tmp_path / PACKAGE / f"{place}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.touch()
    (tmp_path / PACKAGE / "__init__.py").touch()
    (tmp_path / PACKAGE / "solve" / "pins.py").write_text("def f():\n    import spectral_graph.solve.hubs\n")
    (tmp_path / PACKAGE / "solve" / "hubs.py").touch()
    assert faults(tmp_path) == []
    place = tmp_path / PACKAGE / path
    place.parent.mkdir(exist_ok=True)
    place.write_text(text)
    assert any(found in fault for fault in faults(tmp_path))


def test_the_page_on_architecture_draws_these_floors():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    diagram = text.split("```")[1].splitlines()[1:]
    drawn = [set(re.split(r" {3,}", line[:38].strip())) if line[0] != " " else set() for line in diagram]
    assert set().union(*drawn) == {unit for floor in FLOORS[:-1] for unit in floor}
    heights = [[HEIGHT[unit] for unit in units] for units in drawn]
    assert all(min(upper) >= max(lower) for upper, lower in pairwise(heights) if upper and lower)


@pytest.mark.parametrize(("page", "least"), [("architecture", 30), ("paper", 20)])
def test_the_files_that_a_page_names_exist(page, least):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    named = [name for name in re.findall(r"`([\w/]+(?:\.(?:py|md|cpp|cu)|/))`", text) if "NAME" not in name]
    assert len(named) >= least
    assert [name for name in named if not any((ROOT / place / name).exists() for place in (".", PACKAGE))] == []
