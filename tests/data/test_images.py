from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spectral_graph.data.images import read_image
from spectral_graph.errors import ImageError, SpectralGraphError


def noise(height: int = 24, width: int = 31) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_lossless_formats_give_the_pixels(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise()).save(path, **({"lossless": True} if suffix == "webp" else {}))
    image = read_image(path)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), noise())


def test_the_image_outlives_the_file(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)
    image = read_image(path)
    path.unlink()
    np.testing.assert_array_equal(np.asarray(image), noise())


def test_grey_palette_and_bilevel(tmp_path):
    grey = noise()[..., 0]
    Image.fromarray(grey).save(tmp_path / "l.png")
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "l.png")), np.repeat(grey[..., None], 3, 2))

    indices = grey % 4
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    image.save(tmp_path / "p.png")
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "p.png")), colours[indices])

    Image.fromarray(grey > 127).save(tmp_path / "1.png")
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "1.png"))[..., 1], np.where(grey > 127, 255, 0))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_keeps_its_high_byte(tmp_path, suffix):
    values = np.linspace(0, 65535, 20 * 30).astype(np.uint16).reshape(20, 30)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    got = np.asarray(read_image(tmp_path / f"a.{suffix}"))
    np.testing.assert_array_equal(got, np.repeat((values // 256)[..., None], 3, 2))


def test_16_bit_colour_png(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (3, 5, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    (tmp_path / "a.png").write_bytes(png(5, 3, 16, 2, rows))
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png")), values // 256)


def test_cmyk_jpeg(tmp_path):
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:, :8] = [0, 255, 255, 0]
    ink[:, 8:] = [255, 0, 0, 0]
    Image.fromarray(ink, "CMYK").save(tmp_path / "a.jpg", quality=100)
    got = np.asarray(read_image(tmp_path / "a.jpg")).astype(int)
    assert np.abs(got[:, :7] - [255, 0, 0]).max() < 12
    assert np.abs(got[:, 9:] - [0, 255, 255]).max() < 12


def test_transparent_pixels_are_laid_over_white(tmp_path):
    rgba = np.concatenate([noise(), np.full((24, 31, 1), 255, np.uint8)], 2)
    rgba[:5, :, 3] = 0
    rgba[5, 0] = [0, 0, 0, 102]
    Image.fromarray(rgba).save(tmp_path / "a.png")
    got = np.asarray(read_image(tmp_path / "a.png"))
    assert (got[:5] == 255).all()
    np.testing.assert_array_equal(got[6:], noise()[6:])
    # 102 / 255 = 0.4 of black over white.
    np.testing.assert_allclose(got[5, 0], 153, atol=1)

    palette = Image.fromarray(noise()[..., 0] % 2)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=1)
    got = np.asarray(read_image(tmp_path / "p.png"))
    expected = np.where(noise()[..., :1] % 2 == 1, 255, np.array([10, 20, 30]))
    np.testing.assert_array_equal(got, expected)


def test_32_bit_pixels_are_refused_in_words(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ImageError, match=r"f\.tif.*mode F.*8-bit"):
        read_image(tmp_path / "f.tif")
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(ImageError, match=r"i\.tif.*mode I"):
        read_image(tmp_path / "i.tif")


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """EXIF 2.32, 4.6.4: which visual side the 0th row and the 0th column of the file are."""
    height, width = upright.shape[:2]
    row_side, column_side = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    shape = (height, width) if row_side in ("top", "bottom") else (width, height)
    out = np.empty((*shape, 3), np.uint8)
    for row in range(shape[0]):
        for column in range(shape[1]):
            place = {row_side: row, column_side: column}
            y = place["top"] if "top" in place else height - 1 - place["bottom"]
            x = place["left"] if "left" in place else width - 1 - place["right"]
            out[row, column] = upright[y, x]
    return out


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = stored(noise(5, 7), orientation)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png", upright=True)), noise(5, 7))
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png")), pixels)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_does_not_lose_the_photo(tmp_path, exif):
    Image.fromarray(noise()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png", upright=True)), noise())


def test_an_orientation_outside_the_standard_is_as_stored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 99
    Image.fromarray(noise()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png", upright=True)), noise())


def test_missing_empty_folder_and_text(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere\.jpg"):
        read_image(tmp_path / "nowhere.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match=r"empty\.jpg.*\(0"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(ImageError, match=r"folder\.jpg"):
        read_image(tmp_path / "folder.jpg")
    (tmp_path / "text.jpg").write_text("<html>404</html>")
    with pytest.raises(ImageError, match=r"text\.jpg"):
        read_image(tmp_path / "text.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7])
def test_truncated(tmp_path, suffix, kept):
    Image.fromarray(noise(64, 64)).save(tmp_path / f"whole.{suffix}")
    data = (tmp_path / f"whole.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageError, match=rf"cut\.{suffix}: .*(cannot be decoded|not an image|empty)"):
        read_image(path)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "image"


@given(st.sampled_from(["JPEG", "PNG", "BMP", "TIFF", "WEBP"]), st.data())
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_damage_gives_an_image_or_an_image_error(scratch, kind, data):
    buffer = io.BytesIO()
    Image.fromarray(noise()).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=8)
    ):
        content[place] = value
    scratch.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        image = read_image(scratch, upright=True)
    except ImageError as error:
        assert str(scratch) in str(error)
    else:
        assert image.mode == "RGB"


def test_decompression_bomb(tmp_path):
    # 4 gigapixels in under a kilobyte: refused from the header alone.
    path = tmp_path / "bomb.png"
    path.write_bytes(png(65535, 65535, 8, 2, b"\0" * 100))
    with pytest.raises(ImageError, match=r"bomb\.png"):
        read_image(path)


def test_an_image_error_is_a_value_error():
    assert issubclass(ImageError, SpectralGraphError) and issubclass(ImageError, ValueError)


def tiff(values: np.ndarray, order: bytes) -> bytes:
    """TIFF 6.0: one strip of uncompressed 16-bit RGB, little-endian (II) or big-endian (MM)."""
    end = "<" if order == b"II" else ">"
    height, width, _ = values.shape
    data = values.astype(f"{end}u2").tobytes()
    after = 8 + 2 + 9 * 12 + 4
    shorts = {256: width, 257: height, 259: 1, 262: 2, 277: 3, 278: height}
    longs = {273: after + 6, 279: len(data)}
    entries = {tag: struct.pack(f"{end}HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items()}
    entries |= {tag: struct.pack(f"{end}HHII", tag, 4, 1, value) for tag, value in longs.items()}
    entries[258] = struct.pack(f"{end}HHII", 258, 3, 3, after)
    table = b"".join(entries[tag] for tag in sorted(entries))
    head = order + struct.pack(f"{end}HIH", 42, 8, len(entries))
    return head + table + struct.pack(f"{end}IHHH", 0, 16, 16, 16) + data


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_few_bits_in_16_use_the_whole_range(tmp_path, bits):
    """The rule of `read_image`: the smallest of 8, 10, 12, 14, 16 bits that holds the largest value."""
    values = np.random.default_rng(bits).integers(0, 2**bits, (5, 7, 3)).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    expected = values >> (bits - 8)
    grey = values[..., 0]
    for suffix in ("png", "tif"):
        Image.fromarray(grey).save(tmp_path / f"grey.{suffix}")
    (tmp_path / "grey.pgm").write_bytes(b"P5\n7 5\n65535\n" + grey.astype(">u2").tobytes())
    for suffix in ("png", "tif", "pgm"):
        got = np.asarray(read_image(tmp_path / f"grey.{suffix}"))
        np.testing.assert_array_equal(got, np.repeat(expected[..., :1], 3, 2), err_msg=suffix)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    (tmp_path / "colour.png").write_bytes(png(7, 5, 16, 2, rows))
    (tmp_path / "II.tif").write_bytes(tiff(values, b"II"))
    (tmp_path / "MM.tif").write_bytes(tiff(values, b"MM"))
    for name in ("colour.png", "II.tif", "MM.tif"):
        np.testing.assert_array_equal(np.asarray(read_image(tmp_path / name)), expected, err_msg=name)


@given(st.lists(st.integers(0, 65535), min_size=2, max_size=8))
@settings(deadline=None)
def test_the_order_of_16_bit_values_is_kept(scratch, values):
    Image.fromarray(np.array([sorted(values)], np.uint16)).save(scratch, "PNG")
    got = np.asarray(read_image(scratch))[0, :, 0].astype(int)
    assert (np.diff(got) >= 0).all() and got[-1] >= min(max(values), 64)
