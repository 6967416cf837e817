"""The Python code of README.md and docs/usage.md runs, and every file and command that the pages name exists."""

import re
from pathlib import Path

import numpy as np
import pytest
from small_folder import write_folder

import spectral_graph as sg

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("page", ["README.md", "docs/usage.md"])
def test_python_code_runs(page, module_options, tmp_path, monkeypatch):
    write_folder(tmp_path / "my_photos")
    monkeypatch.chdir(tmp_path)
    small = {name: value for name, value in module_options.items() if name not in ("dataset", "root")}
    compute = sg.run
    monkeypatch.setattr(sg, "run", lambda *where, **given: compute(*where, **given, **small, quiet=True), raising=False)
    sg.run("folder", "runs/photos", root="my_photos")
    names = {"X": np.random.default_rng(0).standard_normal((1024, 16)).astype(np.float32)}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert names["found"].vectors.shape == (1024, 20)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_benchmarks_that_are_named_exist(page):
    for name in re.findall(r"python -m (benchmarks(?:\.\w+)?|tools\.\w+)", (ROOT / page).read_text(encoding="utf-8")):
        module = ROOT / name.replace(".", "/")
        assert module.with_suffix(".py").exists() or (module / "__main__.py").exists(), name
