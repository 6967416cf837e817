from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spectral_graph.data.preprocess import Preprocess, crop_label, network_size, parse_size
from spectral_graph.errors import ConfigError, ImageError

sides = st.integers(1, 3000)


def two_steps(image: Image.Image, side: int, resample: Image.Resampling) -> np.ndarray:
    """PiCIE: minor edge to `side` (the other edge truncated), then the central square at round((w - side) / 2)."""
    width, height = image.size
    if width < height:
        resized = image.resize((side, int(side * height / width)), resample)
    else:
        resized = image.resize((int(side * width / height), side), resample)
    left = round((resized.width - side) / 2)
    top = round((resized.height - side) / 2)
    return np.asarray(resized.crop((left, top, left + side, top + side)))


def smooth(height: int, width: int) -> Image.Image:
    """Wavefront of half the minor edge and longer."""
    y, x = np.mgrid[:height, :width] / min(height, width) * 2 * np.pi
    wavefront = [np.sin(2 * x + 1) + np.cos(y), np.cos(x - y) + np.sin(2 * y), np.sin(x + y) + np.cos(x)]
    return Image.fromarray((127.5 + 60 * np.stack(wavefront, 2)).round().clip(0, 255).astype(np.uint8))


@given(height=sides, width=sides, side=st.integers(1, 700))
@settings(max_examples=300)
def test_crop_box(height, width, side):
    left, top, right, bottom = Preprocess(size=(side, side)).source_box((height, width))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    # The minor edge is covered from end to end.
    if height <= width:
        assert (top, bottom) == (0, height)
    if width <= height:
        assert (left, right) == (0, width)
    # Each edge is that of the crop in the resized image, to half a source pixel.
    short = min(height, width)
    for low, high, length in ((left, right, width), (top, bottom, height)):
        resized = int(Fraction(side * length, short))
        offset = round(Fraction(resized - side, 2))
        scale = Fraction(length, resized)
        assert abs(low - offset * scale) <= Fraction(1, 2) or low == length - 1
        assert abs(high - (offset + side) * scale) <= Fraction(1, 2) or high == low + 1
        # The part is square up to the truncation of the resized length and to the rounding of its ends.
        assert abs((high - low) - side * scale) <= 1
        # It lies in the middle.
        assert abs(low - (length - high)) <= scale + 1


@given(height=sides, width=sides, target_height=st.integers(1, 700), target_width=st.integers(1, 700))
@settings(max_examples=50)
def test_resize_covers_the_whole_image(height, width, target_height, target_width):
    preprocess = Preprocess("resize", (target_height, target_width))
    assert preprocess.source_box((height, width)) == (0, 0, width, height)
    assert preprocess.target_size() == (target_height, target_width)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (427, 640), (640, 428), (313, 500), (375, 500), (333, 333)])
@pytest.mark.parametrize("resample", ["bilinear", "nearest"])
def test_crop_is_resize_then_crop(size, resample):
    image = smooth(*size)
    got = Preprocess("crop", (320, 320), resample)(image, (320, 320)).pixels.astype(int)
    want = two_steps(image, 320, Image.Resampling[resample.upper()]).astype(int)
    # Half a source pixel of rounding, times the steepest slope of the waves (2.3 levels a pixel at 313), and that of
    # nearest neighbours once more.
    assert np.abs(got - want).max() <= (3 if resample == "bilinear" else 5)
    assert np.abs(got - want).mean() < 1


@pytest.mark.parametrize("resample", ["bilinear", "nearest"])
@pytest.mark.parametrize(("size", "side"), [((480, 640), 240), ((640, 480), 120), ((320, 420), 320), ((200, 300), 400)])
def test_crop_is_resize_then_crop_exactly_where_the_edges_fall_on_pixels(size, side, resample):
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    got = Preprocess("crop", (side, side), resample)(image, (side, side)).pixels
    np.testing.assert_array_equal(got, two_steps(image, side, Image.Resampling[resample.upper()]))


def test_resize_is_plain_resize():
    image = smooth(300, 410)
    prepared = Preprocess("resize", (322, 434))(image, (322, 434))
    want = np.asarray(image.resize((434, 322), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(prepared.pixels, want)


@given(height=st.integers(1, 60), width=st.integers(1, 60), target=st.integers(1, 50), patch=st.integers(1, 16))
@settings(max_examples=60, deadline=None)
def test_pixels_show_the_box(height, width, target, patch):
    # Each pixel holds its own coordinates, so that the network's pixels tell where they come from.
    y, x = np.mgrid[:height, :width]
    image = Image.fromarray(np.stack([y, x, 0 * x], 2).astype(np.uint8))
    size = network_size((target, target), patch)
    prepared = Preprocess("crop", (target, target), "nearest")(image, size)
    assert prepared.pixels.shape == (*size, 3) and prepared.pixels.dtype == np.uint8
    assert prepared.source_size == (height, width)
    left, top, right, bottom = prepared.box
    rows, columns = prepared.pixels[..., 0].astype(int), prepared.pixels[..., 1].astype(int)
    # The centre of output pixel i lies at top + (i + 1/2) (bottom - top) / H.
    want_rows = top + (np.arange(size[0]) + 0.5) * (bottom - top) / size[0]
    want_columns = left + (np.arange(size[1]) + 0.5) * (right - left) / size[1]
    assert np.abs(rows + 0.5 - want_rows[:, None]).max() <= 0.5 + 1e-4
    assert np.abs(columns + 0.5 - want_columns[None]).max() <= 0.5 + 1e-4


def test_pixels_own_their_memory():
    prepared = Preprocess()(smooth(350, 400), (322, 322))
    assert prepared.pixels.flags.writeable and prepared.pixels.flags.c_contiguous
    assert prepared.pixels.shape == (322, 322, 3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "pad"}, "preprocess 'pad' is unknown; use crop or resize"),
        ({"resample": "cubic"}, "resample 'cubic' is unknown"),
        ({"size": (0, 0)}, "size 0x0 has no pixel"),
        ({"size": (322, 434)}, "`size=322x434` does not go with `preprocess=crop`"),
    ],
)
def test_bad_options(fields, words):
    with pytest.raises(ConfigError, match=words):
        Preprocess(**fields)


def test_preprocess_is_frozen_and_comparable():
    assert Preprocess() == Preprocess("crop", (320, 320), "bilinear")
    assert hash(Preprocess()) == hash(Preprocess())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Preprocess().size = (1, 1)


@given(height=st.integers(1, 900), width=st.integers(1, 900), patch=st.integers(1, 40))
def test_network_size_is_the_nearest_multiple(height, width, patch):
    def brute_force(side):
        return min((patch * k for k in range(1, side // patch + 3)), key=lambda m: (abs(m - side), -m))

    assert network_size((height, width), patch) == (brute_force(height), brute_force(width))


def test_network_size_of_the_usual_models():
    assert network_size((320, 320), 14) == (322, 322)
    assert network_size((320, 320), 16) == (320, 320)
    assert network_size((224, 5), 14) == (224, 14)
    with pytest.raises(ConfigError, match="patch size 0"):
        network_size((320, 320), 0)


@given(st.integers(1, 999999), st.integers(1, 999999))
def test_parse_size(height, width):
    assert parse_size(str(height)) == (height, height)
    assert parse_size(f" {height}x{width}") == (height, width)
    assert parse_size(f"{height} X {width}") == (height, width)


@pytest.mark.parametrize("text", ["", "x", "0", "320x", "x320", "-5", "3.5", "320x0", "320x320x3", "a", "1e3", "٣٢٠"])
def test_parse_size_refuses_in_words(text):
    with pytest.raises(ConfigError, match=r"1.*320.*322x434"):
        parse_size(text)


@given(height=st.integers(1, 300), width=st.integers(1, 300), side=st.integers(1, 200), factor=st.integers(1, 4))
@settings(max_examples=60)
def test_crop_label_follows_the_scale(height, width, side, factor):
    box = Preprocess(size=(side, side)).source_box((height, width))
    left, top, right, bottom = box
    label = np.arange(height * width).reshape(height, width)
    want = label[top:bottom, left:right]
    np.testing.assert_array_equal(crop_label(label, box, (height, width)), want)
    larger = label.repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_array_equal(crop_label(larger, box, (height, width)), want.repeat(factor, 0).repeat(factor, 1))


@given(height=st.integers(2, 900), width=st.integers(2, 900), scale=st.floats(0.02, 1.5))
@settings(max_examples=60)
def test_crop_label_of_a_scaled_map(height, width, scale):
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    label = np.arange(shape[0] * shape[1]).reshape(shape)
    box = Preprocess(size=(32, 32)).source_box((height, width))
    got = crop_label(label, box, (height, width))
    first, last = np.unravel_index([got[0, 0], got[-1, -1]], shape)[0], np.unravel_index(got[0, -1], shape)[1]
    assert got.size >= 1
    assert abs(first[0] - box[1] * shape[0] / height) <= 1
    assert abs(last + 1 - box[2] * shape[1] / width) <= 1


def test_crop_label_refuses_a_turned_map():
    with pytest.raises(ImageError, match=r"480x640.*640x480"):
        crop_label(np.zeros((480, 640)), (0, 80, 480, 560), (640, 480))


def test_image_and_label_crops_agree():
    classes = np.random.default_rng(0).integers(0, 27, (50, 90)).astype(np.uint8)
    prepared = Preprocess("crop", (25, 25), "nearest")(Image.fromarray(classes), (50, 50))
    label = crop_label(classes, prepared.box, prepared.source_size)
    # The part is 50 x 50 source pixels, so the network's pixels are the label's.
    np.testing.assert_array_equal(prepared.pixels[..., 0], label)
