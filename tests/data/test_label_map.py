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
    with pytest.raises(ImageError, match=rf"a\.png.*{mode}"):
        read_index_map(tmp_path / "a.png")


def test_damaged(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    with pytest.raises(ImageError, match=r"b\.png"):
        read_index_map(tmp_path / "b.png")


def test_translate(tmp_path):
    table = value_table([0, 1], [0, 255], first=3)
    assert table.dtype == np.int16 and (table == UNKNOWN).sum() == 252
    got = translate(np.array([[3, 4], [0, 255]]), table, tmp_path / "a.png", "toy")
    assert got.dtype == np.int16
    np.testing.assert_array_equal(got, [[0, 1], [IGNORED, IGNORED]])


@pytest.mark.parametrize("value", [4, 256, 60000, -1])
def test_translate_names_the_unknown_value(tmp_path, value):
    table = value_table([0], [255], first=3)
    with pytest.raises(ImageError, match=rf"a\.png.*{value}.*\(25\.0%"):
        translate(np.array([[3, value], [3, 255]]), table, tmp_path / "a.png", "toy")


VALUES = np.array([[0, 3, 15], [1, 2, 9]])


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.int32, np.float32])
def test_tiff(tmp_path, dtype, compression):
    size = np.dtype(dtype).itemsize
    values = VALUES.astype(dtype) * (1 if size == 1 else 4000)
    Image.fromarray(values).save(tmp_path / "a.tif", compression=compression)
    got = read_index_map(tmp_path / "a.tif")
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_tiff_of_few_bits(tmp_path, bits, white_is_zero):
    """Written by hand: Pillow writes 1 and 8 bits only (TIFF 6.0, section 4)."""
    values = VALUES % 2**bits
    rows = b""
    for row in values:
        text = "".join(format(v, f"0{bits}b") for v in row)
        text += "0" * (-len(text) % 8)
        rows += bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    photometric = 0 if white_is_zero else 1
    tags = [(256, 3), (257, 2), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 2)]
    tags.append((279, len(rows)))
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(rows) + len(rows) % 2)
    body = rows + b"\0" * (len(rows) % 2) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    (tmp_path / "a.tif").write_bytes(head + body)
    if white_is_zero:
        with pytest.raises(ImageError, match=r"a\.tif"):
            read_index_map(tmp_path / "a.tif")
    else:
        np.testing.assert_array_equal(read_index_map(tmp_path / "a.tif"), values)


@pytest.mark.parametrize("kind", ["L", "P", "1"])
def test_bmp(tmp_path, kind):
    image = Image.fromarray((VALUES % 2).astype(bool) if kind == "1" else VALUES.astype(np.uint8))
    if kind == "P":
        image.putpalette(np.random.default_rng(1).permutation(768).astype(np.uint8).tobytes())
    image.save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_index_map(tmp_path / "a.bmp"), VALUES % 2 if kind == "1" else VALUES)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 2.0**31])
def test_numbers_that_are_no_class_numbers_are_refused(tmp_path, value):
    Image.fromarray(np.array([[1.0, value]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif"):
        read_index_map(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "WEBP", "PPM"])
def test_formats_that_do_not_keep_the_values_are_refused_by_name(tmp_path, kind):
    Image.fromarray(VALUES.astype(np.uint8)).save(tmp_path / "a.png", kind)
    with pytest.raises(ImageError, match=rf"a\.png.*{kind}"):
        read_index_map(tmp_path / "a.png")


def test_a_file_of_several_pictures_is_refused(tmp_path):
    page = Image.fromarray(VALUES.astype(np.uint8))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    with pytest.raises(ImageError, match=r"a\.tif"):
        read_index_map(tmp_path / "a.tif")
