"""Paths from outside stay in their folder."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_graph.errors import UnsafePathError
from spectral_graph.io.inside import inside, relative_parts

HOSTILE = [
    "",
    "/",
    "/etc/passwd",
    "//host/share",
    "..",
    ".",
    "../x",
    "a/../../x",
    "a/..",
    "./a",
    "a//b",
    "a/",
    "a\\b",
    "..\\x",
    "C:/x",
    "c:x",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "\ud800",
    "a" * 256,
    "a/" * 2500 + "a",
    None,
    3,
    b"a",
    ["a"],
    {"a": 1},
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(tmp_path, name):
    with pytest.raises(UnsafePathError) as caught:
        inside(tmp_path, name, "list.json", follow_links=True)
    assert "list.json" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "name", ["a", "a/b.png", "a b", "...", "..a", "a..b/c", "ümlaut.jpg", "猫/犬.png", "-rf", "ab:c"]
)
def test_plain_names_are_joined(tmp_path, name):
    assert inside(tmp_path, name, "list.json", follow_links=False) == tmp_path / name


def test_links_that_lead_out_are_refused_or_followed(tmp_path):
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "near").symlink_to("real")
    (folder / "real").mkdir()
    assert inside(folder, "link/x", "list", follow_links=True) == folder / "link" / "x"
    assert inside(folder, "near/x", "list", follow_links=False) == folder / "near" / "x"
    with pytest.raises(UnsafePathError):
        inside(folder, "link/x", "list", follow_links=False)
    (tmp_path / "alias").symlink_to(folder)
    assert inside(tmp_path / "alias", "real/x", "list", follow_links=False)


@given(st.text(alphabet=st.sampled_from(list("a./\\\0C: \n\ud800")), max_size=12))
def test_accepted_names_never_leave_the_folder(name):
    try:
        parts = relative_parts(name, "list")
    except UnsafePathError:
        return
    path = os.path.normpath("/".join(["/folder", *parts]))
    assert path == f"/folder/{name}"
