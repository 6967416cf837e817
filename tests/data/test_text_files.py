"""Text files are read and written as UTF-8, whatever the locale."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "spectral_graph"
FILES = sorted(PACKAGE.rglob("*.py"))


def unnamed(source: str) -> list[int]:
    """Return the lines that open a file as text without naming its encoding."""
    lines = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if any(word.arg in ("encoding", None) for word in call.keywords):
            continue
        given = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
        texts = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        plain = any(set(text) <= set("rwax+t") and text for text in texts)
        if name in ("read_text", "write_text") or (name in ("open", "fdopen") and plain):
            lines.append(call.lineno)
    return lines


def test_it_finds_what_it_looks_for():
    source = (
        'p.read_text()\np.open("a")\nopen("x", mode="w")\np.open("rb")\np.open("a", encoding="utf-8")\np.write_text(t)'
    )
    assert unnamed(source) == [1, 2, 3, 6]


def test_the_encoding_is_named():
    found = {
        f"{file.relative_to(PACKAGE)}:{line}"
        for file in FILES
        if file.name != "sync.py"  # opens its lock, which has no content
        for line in unnamed(file.read_text(encoding="utf-8"))
    }
    assert found == set()
