from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from spectral_graph.data.label_map import read_index_map, translate
from spectral_graph.data.labels import IGNORED, UNKNOWN, value_table
from spectral_graph.errors import ImageError


def packed_png(values: np.ndarray, depth: int, colour: int) -> bytes:
    """A PNG of 1, 2, 4 or 8 bits a pixel, written by hand (PNG specification, sections 5 and 7.2)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = values.shape
    rows = b""
    for row in values:
        bits = "".join(format(v, f"0{depth}b") for v in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    palette = chunk(b"PLTE", bytes(range(200, 200 + 3 * min(2**depth, 16)))) if colour == 3 else b""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("colour", [0, 3], ids=["grey", "palette"])
def test_every_bit_depth_gives_the_stored_values(tmp_path, depth, colour):
    values = np.random.default_rng(depth).integers(0, min(2**depth, 16), (5, 7))
    (tmp_path / "a.png").write_bytes(packed_png(values, depth, colour))
    got = read_index_map(tmp_path / "a.png")
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, values)


def test_16_bits(tmp_path):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_index_map(tmp_path / "a.png"), values)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_colour_picture_is_refused(tmp_path, mode):
    Image.new(mode, (4, 3)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=rf"a\.png: a label map must be.*mode {mode}"):
        read_index_map(tmp_path / "a.png")


def test_damaged(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    with pytest.raises(ImageError, match=r"b\.png: the image cannot be decoded"):
        read_index_map(tmp_path / "b.png")


def test_translate(tmp_path):
    table = value_table({3: 0, 5: 1}, [0, 255])
    assert table.dtype == np.int16 and (table == UNKNOWN).sum() == 252
    got = translate(np.array([[3, 5], [0, 255]]), table, tmp_path / "a.png", "toy")
    assert got.dtype == np.int16
    np.testing.assert_array_equal(got, [[0, 1], [IGNORED, IGNORED]])


@pytest.mark.parametrize("value", [4, 256, 60000, -1])
def test_translate_names_the_unknown_value(tmp_path, value):
    table = value_table({3: 0}, [255])
    with pytest.raises(ImageError, match=rf"a\.png: label value {value} is none of toy \(25\.0% of the pixels\)"):
        translate(np.array([[3, value], [3, 255]]), table, tmp_path / "a.png", "toy")
