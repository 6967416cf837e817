"""Warnings and log records of libraries: notes of one line, each once, and none of them when quiet."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import warnings

import pytest
import torch

from spectral_graph.cli.library_output import as_notes
from spectral_graph.io import readonly_tensor
from spectral_graph.ops import UncompiledWarning
from spectral_graph.progress import Reporter


@pytest.mark.parametrize("quiet", [False, True])
def test_warnings_and_records_are_notes_of_one_line(capsys, quiet):
    stream, log = io.StringIO(), logging.getLogger("some.library")
    before = warnings.showwarning
    with as_notes(Reporter(stream, quiet=quiet)):
        warnings.simplefilter("always")
        for _ in range(3):
            warnings.warn("one\nline \x1b[31m", RuntimeWarning, stacklevel=1)
            log.warning("two %d", 2)
            log.info("three")
    assert warnings.showwarning is before
    lines = stream.getvalue().splitlines()
    if quiet:
        assert lines == []
    else:
        assert len(lines) == 2 and "RuntimeWarning: one\\nline \\x1b[31m" in lines[0] and __file__[-20:] in lines[0]
        assert lines[1] == "some.library: two 2"
    assert capsys.readouterr() == ("", "")


def test_slow_operators_and_errors_are_told_also_when_quiet(capsys):
    with as_notes(Reporter(quiet=True)):
        warnings.simplefilter("always")
        warnings.warn("slow", UncompiledWarning, stacklevel=1)
        logging.getLogger("some.library").error("broken")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("UncompiledWarning: slow") and lines[1] == "some.library: broken"


def test_read_only_arrays_are_lent_without_a_warning():
    """And without touching the filters of warnings, which all threads share."""
    code = """
import warnings, numpy as np, torch
warnings.simplefilter("error")
warnings.catch_warnings = None
from spectral_graph.io.readonly_tensor import as_readonly_tensor
for array in (np.arange(12.0).reshape(3, 4), np.zeros((0, 3), np.int32), np.ones(5, np.float16)):
    array.flags.writeable = False
    tensor = as_readonly_tensor(array)
    assert tensor.shape == array.shape and (tensor.numpy() == array).all()
    assert not array.size or tensor.data_ptr() == array.ctypes.data
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    tensor = torch.arange(3)
    assert readonly_tensor.as_readonly_tensor(tensor).data_ptr() == tensor.data_ptr()


def test_damaged_metadata_and_large_photos_say_nothing(tmp_path, monkeypatch):
    from PIL import Image

    from spectral_graph.data.images import read_image

    path = tmp_path / "a.tif"
    Image.new("RGB", (40, 40)).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\x01")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    stream = io.StringIO()
    with as_notes(Reporter(stream)):
        assert read_image(path, upright=True).size == (40, 40)
    assert stream.getvalue() == ""
