"""Random folders end in a finished run whose counts add up, or in one worded error before the extraction."""

import pytest

from benchmarks.random_folder_maker import FAST, judge, make_folder
from spectral_graph.cli.entry import main

SEEDS = (*range(6), 230)
"""`benchmarks.random_folders` runs a thousand."""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_folder(seed, tmp_path, capfd, model_weights, one_thread, settled_modules):
    made = make_folder(tmp_path, seed)
    out = made.root / "out" if "--out-inside" in made.options else tmp_path / "run"
    options = [option for option in made.options if option != "--out-inside"]
    model = ["--model", "vit_tiny_patch16_224", "--weights", str(model_weights)]
    code = main(["build", "--dataset", "folder", f"--root={made.root}", "--out", str(out), *model, *FAST, *options])
    told = "".join(capfd.readouterr())
    assert judge(made, out, code, told) == [], (made.about, told[-2000:])


def test_the_judge_notices_faults(tmp_path):
    made = make_folder(tmp_path, 3)
    assert judge(made, tmp_path / "none", 2, "error: x\n") == []
    assert judge(made, tmp_path / "none", 2, "")
    assert judge(made, tmp_path / "none", 1, "Traceback (most recent call last)\n")
    assert judge(made, tmp_path / "none", 2, "error: \x1b[2J\n")
    assert judge(made, tmp_path / "none", 0, "")
