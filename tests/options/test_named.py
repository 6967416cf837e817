"""Messages below the command line name options as Python callers give them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "spectral_graph"
COMMAND_LINE = {"cli", "config.py", "version.py"}
"""What speaks of options as they are typed; `features/listing.py` is the text of a command."""
TYPED = re.compile(r"(?<![\w`-])--[a-z][a-z-]*")
NOT_OURS = {
    "--no-deps",
    "--force-reinstall",
    "--upgrade",
    "--no-build-isolation",
    "--nproc-per-node",
    "--device-as-default-execution-space",
}


def test_messages_name_options_as_python_callers_give_them():
    """The command line translates `c_inter` into --c-inter (`options.schema.as_typed`)."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.relative_to(ROOT)
        if inside.parts[0] in COMMAND_LINE or str(inside) == "features/listing.py":
            continue
        tree = ast.parse(path.read_text())
        documented = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in documented:
                continue
            commands = "spectral-graph" in node.value or inside.parts[0] == "report"
            typed = [] if commands else [flag for flag in TYPED.findall(node.value) if flag not in NOT_OURS]
            found += [f"{inside}:{node.lineno}: {flag}" for flag in typed]
    assert not found
