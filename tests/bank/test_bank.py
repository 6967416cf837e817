import json
import os
import resource

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.bank import Bank
from spectral_graph.errors import ConfigError, DiskFullError, FormatError


@pytest.fixture
def bank(tmp_path):
    """Three images of four nodes, three channels, two arrays, one counter."""
    bank = Bank(tmp_path / "bank", (12, 3), ("X", "m"), 4, counters=("steps",))
    arrays = bank.begin()
    arrays["X"][:] = np.arange(36).reshape(12, 3)
    arrays["m"][:] = 7
    bank.commit(note="first")
    return bank


def change(bank, image, value, name="X", note="later"):
    bank.revise()
    bank.write([image], np.full((4, 3), value, np.float32), name)
    bank.commit(note=note)


def flip(file, at=17):
    raw = bytearray(file.read_bytes())
    raw[at] ^= 4
    file.write_bytes(raw)


def test_round_trip_and_reading_by_image(bank):
    again = Bank.open(bank.path)
    assert (again.n_images, again.nodes_per_image, again.channels, again.dtype) == (3, 4, 3, "float32")
    assert again.notes == {"note": "first"}
    rows = np.arange(36).reshape(12, 3)
    np.testing.assert_array_equal(again.read(1, 2), rows[4:8])
    np.testing.assert_array_equal(again.read([2, 0, 1]), rows.reshape(3, 12)[[2, 0, 1]].reshape(12, 3))
    np.testing.assert_array_equal(again.read(0, 3, name="m"), np.full((12, 3), 7))
    np.testing.assert_array_equal(again.view("m"), np.full((12, 3), 7))
    assert not again.view().flags.writeable


def test_views_do_not_copy(bank):
    assert isinstance(bank.view(), np.memmap)
    tensor = bank.tensor()
    np.testing.assert_array_equal(tensor.numpy(), bank.view())
    tensor[0] = 99  # private to this tensor
    assert Bank.open(bank.path).view()[0, 0] == 0
    np.testing.assert_array_equal(np.from_dlpack(bank.tensor("m")), bank.view("m"))


def test_uncommitted_generation_is_never_seen(bank):
    bank.revise()
    bank.write([0, 2], np.full((8, 3), -1.0))
    assert bank.read([2])[0, 0] == -1
    again = Bank.open(bank.path)
    assert again.generation == 1
    np.testing.assert_array_equal(again.view(), np.arange(36).reshape(12, 3))


def test_a_revision_keeps_what_it_does_not_write(bank):
    change(bank, 1, 100)
    again = Bank.open(bank.path)
    assert again.generation == 2
    assert np.unique(again.read([1])).tolist() == [100]
    np.testing.assert_array_equal(again.read([0, 2]), np.arange(36).reshape(3, 12)[[0, 2]].reshape(8, 3))
    found = sorted(p.name for p in bank.path.iterdir())
    assert found == [
        "X.1.f32", "X.2.f32", "bank.json", "images.1.npy", "images.2.npy", "m.1.f32", "m.2.f32", "previous.json"
    ]  # fmt: skip
    change(again, 2, 5)
    assert sorted(p.name for p in bank.path.glob("*.f32")) == ["X.2.f32", "X.3.f32", "m.2.f32", "m.3.f32"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 4), st.sampled_from("ab")), max_size=4),
            st.sampled_from(["commit", "crash", "whole", "fall back"]),
        ),
        max_size=8,
    )
)
def test_any_history_equals_plain_arrays(tmp_path_factory, history):
    path = tmp_path_factory.mktemp("bank") / "b"
    bank = Bank(path, (10, 2), ("a", "b"), 2, counters=("n",))
    bank.begin()
    bank.commit()
    models = [{"a": np.zeros((5, 4)), "b": np.zeros((5, 4)), "n": np.zeros(5)}]
    number = 0.0
    for writes, ending in history:
        model = {name: value.copy() for name, value in models[-1].items()}
        if ending == "fall back":
            if len(models) > 1 and (path / "previous.json").exists():
                flip(path / f"a.{bank.generation}.f32", 3)
                models.pop()
                bank, damage = Bank.recover(path)
                assert damage
                models[:] = models[-1:]
            continue
        if ending == "whole":
            number += 1
            for name, array in bank.begin().items():
                array[:] = model[name][:] = number
            bank.records["n"][:] = model["n"][:] = number
        else:
            bank.revise()
            for image, name in writes:
                number += 1
                bank.write([image], np.full((2, 2), number), name)
                model[name][image] = number
                bank.records["n"][image] = model["n"][image] = number
        if ending == "crash":
            bank = Bank.open(path)
        else:
            bank.commit()
            models.append(model)
        for seen in (bank, Bank.open(path)):
            for name in ("a", "b"):
                np.testing.assert_array_equal(seen.view(name).reshape(5, 4), models[-1][name])
                np.testing.assert_array_equal(seen.read(0, 5, name=name).reshape(5, 4), models[-1][name])
            np.testing.assert_array_equal(seen.records["n"], models[-1]["n"])


def test_bfloat16_is_the_rounding_of_torch(tmp_path):
    values = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    bank = Bank(tmp_path / "b", (12, 3), ("X",), 4, "bfloat16")
    bank.begin()["X"][:] = values
    bank.commit()
    change(bank, 1, 1 / 3)
    again = Bank.open(tmp_path / "b")
    values[4:8] = 1 / 3
    expected = torch.from_numpy(values).bfloat16()
    assert again.dtype == "bfloat16" and again.read(0, 3).dtype == np.float32
    np.testing.assert_array_equal(again.read(0, 3), expected.float().numpy())
    assert torch.equal(again.tensor(), expected)
    np.testing.assert_array_equal(again.view().astype(np.float32), expected.float().numpy())
    assert (tmp_path / "b" / "X.2.bf16").stat().st_size == 12 * 3 * 2
    assert np.abs(again.read(0, 3) - values).max() <= 2**-8 * np.abs(values).max()


def test_a_flipped_byte_raises_format_error_with_its_image(bank):
    flip(bank.path / "X.1.f32", 4 * 12 + 5)
    with pytest.raises(FormatError, match=r"X\.1\.f32 .*image 1 .*`force=solve`"):
        Bank.open(bank.path)
    lazily = Bank.open(bank.path, verify=False)
    assert lazily.read([0, 2]).shape == (8, 3)
    with pytest.raises(FormatError, match="image 1 "):
        lazily.read(1, 3)
    flip(bank.path / "images.1.npy", 140)
    with pytest.raises(FormatError, match=r"images\.1\.npy"):
        Bank.open(bank.path)


@pytest.mark.parametrize("damage", ["flip", "truncate", "records", "description"])
def test_damage_leaves_the_generation_before(bank, damage):
    change(bank, 1, 100)
    if damage == "flip":
        flip(bank.path / "m.2.f32")
    elif damage == "truncate":
        os.truncate(bank.path / "X.2.f32", 11)
    elif damage == "records":
        flip(bank.path / "images.2.npy", 130)
    else:
        (bank.path / "bank.json").write_text("{")
    with pytest.raises(FormatError):
        Bank.open(bank.path)
    again, said = Bank.recover(bank.path)
    assert "generation 1" in said
    np.testing.assert_array_equal(again.view(), np.arange(36).reshape(12, 3))
    change(again, 0, 3)
    assert Bank.recover(bank.path)[1] == ""
    assert Bank.open(bank.path).read([0])[0, 0] == 3


def test_with_both_generations_damaged_the_error_names_the_current_one(bank):
    change(bank, 1, 100)
    flip(bank.path / "X.1.f32")
    flip(bank.path / "X.2.f32")
    with pytest.raises(FormatError, match=r"X\.2\.f32"):
        Bank.recover(bank.path)


def test_truncated_and_missing_files_raise_format_error(bank):
    os.truncate(bank.path / "m.1.f32", 100)
    with pytest.raises(FormatError, match=r"m\.1\.f32 .*100 .*144"):
        Bank.open(bank.path)
    (bank.path / "m.1.f32").unlink()
    with pytest.raises(FormatError, match=r"m\.1\.f32"):
        Bank.open(bank.path)
    with pytest.raises(FormatError, match=r"X\.1\.f32.*60.*1"):
        os.truncate(bank.path / "X.1.f32", 60)
        bank.read(0, 3)


def test_damaged_description_or_other_format_raises_format_error(bank):
    about = bank.path / "bank.json"
    text = about.read_text()
    about.write_text(text[:20])
    with pytest.raises(FormatError, match=r"bank\.json"):
        Bank.open(bank.path)
    about.write_text(json.dumps({**json.loads(text), "format": 9}))
    with pytest.raises(FormatError, match="format 9"):
        Bank.open(bank.path)
    with pytest.raises(FormatError, match="nowhere"):
        Bank.open(bank.path / "nowhere")


def test_bad_arguments_raise(tmp_path):
    with pytest.raises(ConfigError, match="float8"):
        Bank(tmp_path, (4, 1), ("X",), 2, "float8")
    with pytest.raises(FormatError, match="5 nodes"):
        Bank(tmp_path, (5, 1), ("X",), 2)


def test_a_bank_larger_than_the_disk_raises_before_writing(tmp_path):
    bank = Bank(tmp_path / "bank", (1 << 50, 1), ("X",), 1)
    with pytest.raises(DiskFullError, match=str(tmp_path)):
        bank.begin()
    assert list((tmp_path / "bank").iterdir()) == []


@pytest.mark.parametrize("method", ["begin", "revise"])
def test_a_full_disk_leaves_all_generations(bank, method):
    """The limit on a file's size stands for the disk: the system refuses the bytes in the same place."""
    if method == "revise":
        change(bank, 1, 100)
        (bank.path / "X.1.f32").rename(bank.path / "gone")  # so that a new file is needed
    before = {p.name: p.read_bytes() for p in bank.path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(DiskFullError, match=str(bank.path)):
            getattr(bank, method)()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {p.name: p.read_bytes() for p in bank.path.iterdir()} == before
    assert Bank.open(bank.path).generation == bank.generation
    change(bank, 2, 8)
    assert Bank.open(bank.path).read([2])[0, 0] == 8


def test_a_disk_that_fills_while_writing_leaves_the_last_generation(bank):
    bank.revise()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(DiskFullError, match=str(bank.path)):
            bank.write([2], np.ones((4, 3)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    again = Bank.open(bank.path)
    np.testing.assert_array_equal(again.view(), np.arange(36).reshape(12, 3))
    change(again, 2, 1)
    assert Bank.open(bank.path).generation == 2
