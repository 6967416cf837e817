import json
import os

import numpy as np
import pytest

from spectral_graph.bank import Bank
from spectral_graph.errors import DiskFullError, FormatError


@pytest.fixture
def bank(tmp_path):
    bank = Bank(tmp_path / "bank", (12, 3), ("X", "m"), 4)
    arrays = bank.begin()
    arrays["X"][:] = np.arange(36).reshape(12, 3)
    arrays["m"][:] = 7
    bank.commit(note="first")
    return bank


def test_round_trip_and_reading_by_image(bank):
    again = Bank.open(bank.path)
    assert (again.n_images, again.nodes_per_image, again.channels) == (3, 4, 3)
    assert again.notes == {"note": "first"}
    np.testing.assert_array_equal(again.read(1, 2), np.arange(12, 24).reshape(4, 3))
    np.testing.assert_array_equal(again.view("m"), np.full((12, 3), 7))
    assert not again.view().flags.writeable


def test_uncommitted_generation_is_never_seen(bank):
    bank.begin(copy=True)["X"][:] = -1
    again = Bank.open(bank.path)
    assert again.generation == 1
    np.testing.assert_array_equal(again.view(), np.arange(36).reshape(12, 3))


def test_commit_replaces_and_removes_the_older_generation(bank):
    draft = bank.begin(copy=True)
    np.testing.assert_array_equal(draft["X"], np.arange(36).reshape(12, 3))
    draft["X"][0] = 100
    bank.commit()
    again = Bank.open(bank.path)
    assert again.generation == 2
    assert again.view()[0].tolist() == [100, 100, 100]
    assert sorted(p.name for p in bank.path.iterdir()) == ["X.2.f32", "bank.json", "m.2.f32"]


def test_flipped_byte_is_named(bank):
    file = bank.path / "X.1.f32"
    raw = bytearray(file.read_bytes())
    raw[17] ^= 4
    file.write_bytes(raw)
    with pytest.raises(FormatError, match=r"X\.1\.f32 is damaged.*--force solve"):
        Bank.open(bank.path)


def test_truncated_and_missing_files_are_named(bank):
    os.truncate(bank.path / "m.1.f32", 100)
    with pytest.raises(FormatError, match=r"m\.1\.f32 has 100 bytes, expected 144"):
        Bank.open(bank.path)
    (bank.path / "m.1.f32").unlink()
    with pytest.raises(FormatError, match="truncated or missing"):
        Bank.open(bank.path)


def test_damaged_description_and_other_formats_are_worded(bank):
    about = bank.path / "bank.json"
    text = about.read_text()
    about.write_text(text[:20])
    with pytest.raises(FormatError, match=r"bank\.json is damaged"):
        Bank.open(bank.path)
    about.write_text(json.dumps({**json.loads(text), "format": 9}))
    with pytest.raises(FormatError, match="has format 9"):
        Bank.open(bank.path)
    with pytest.raises(FormatError, match="holds no bank"):
        Bank.open(bank.path / "nowhere")


def test_a_bank_that_does_not_fit_is_refused_before_writing(tmp_path):
    bank = Bank(tmp_path / "bank", (1 << 50, 1), ("X",), 1)
    with pytest.raises(DiskFullError, match=r"needs .* GB, but the disk"):
        bank.begin()
    assert list((tmp_path / "bank").iterdir()) == []
