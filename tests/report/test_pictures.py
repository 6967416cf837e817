"""Pictures against brute force, torch and independent colour science."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.report.content import GalleryItem, PathwayView
from spectral_graph.report.gallery import gallery_limits
from spectral_graph.report.pictures import (
    agreement,
    borders,
    cluster_colours,
    colour_table,
    common_limits,
    eigenvector_picture,
    oklab,
    overlay,
    swatch,
    triples,
)

PHOTO = np.full((30, 40, 3), 128, np.uint8)


def cielab(rgb: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* of 8-bit sRGB under D65, by the textbook formulas."""
    c = rgb / 255
    c = np.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)
    xyz = c @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    xyz /= np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1)


def closest(table: np.ndarray) -> float:
    lab = cielab(table.astype(float))
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return float(distance[~np.eye(len(table), dtype=bool)].min())


def test_colours_are_distinct_in_cielab():
    assert closest(colour_table(27)) > 11
    assert closest(colour_table(150)) > 6
    assert len(np.unique(colour_table(400), axis=0)) == 400


@pytest.mark.parametrize("count", [1, 3, 10, 11, 40, 41, 150])
def test_smaller_table_is_prefix_of_larger_one(count):
    assert np.array_equal(colour_table(count), colour_table(400)[:count])
    assert colour_table(count).shape == (count, 3)


def test_colours_repeat_beyond_the_table():
    assert np.array_equal(colour_table(1000)[400:800], colour_table(400))
    assert colour_table(0).shape == (0, 3)


def test_oklab_of_published_values():
    # Pairs from the page that defines OKLab, in XYZ there: white and the red, green and blue primaries of sRGB.
    rgb = np.array([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    expected = [
        [1, 0, 0],
        [0, 0, 0],
        [0.62796, 0.22486, 0.12585],
        [0.86644, -0.23389, 0.17950],
        [0.45201, -0.03246, -0.31153],
    ]
    assert np.allclose(oklab(rgb), expected, atol=2e-4)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (0, []), (1, [(0,)]), (2, [(0, 1)]), (3, [(0, 1, 2)]), (4, [(0, 1, 2), (3,)]),
        (50, [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)]),
    ],
)  # fmt: skip
def test_triples(channels, expected):
    assert triples(channels) == expected


def test_limits_are_percentiles_over_all_images():
    rng = np.random.default_rng(0)
    views = [rng.normal(size=(5, 7, 3)) * (1, 10, 0.1) + i for i in range(3)]
    low, high = common_limits(views)
    for channel in range(3):
        values = sorted(value for view in views for value in view[..., channel].ravel())
        for limit, percent in ((low, 2), (high, 98)):
            place = percent / 100 * (len(values) - 1)
            below = int(place)
            expected = values[below] + (place - below) * (values[below + 1] - values[below])
            assert limit[channel] == pytest.approx(expected)


def test_one_value_has_one_colour_in_every_photo():
    rng = np.random.default_rng(1)
    common = np.array([0.3, -0.2, 0.1], np.float32)
    wide, narrow = (rng.normal(size=(6, 6, 3)).astype(np.float32) * spread for spread in (5, 0.1))
    wide[2:5, 2:5] = narrow[2:5, 2:5] = common
    items = [GalleryItem(str(i), PHOTO, None, {"V-V": PathwayView(view)}) for i, view in enumerate((wide, narrow))]
    limits = gallery_limits(items)["V-V"]
    first, second = (eigenvector_picture(view, (0, 1, 2), limits, (60, 60))[35, 35] for view in (wide, narrow))
    assert np.array_equal(first, second)
    low, high = limits
    assert np.array_equal(first, np.round(255 * np.clip((common.astype(float) - low) / (high - low), 0, 1)))


@pytest.mark.parametrize("size", [(23, 31), (60, 80), (7, 90)])
def test_enlarging_is_bilinear_interpolation(size):
    view = np.random.default_rng(2).random((7, 9, 3)).astype(np.float32)
    picture = eigenvector_picture(view, (0, 1, 2), (np.zeros(3), np.ones(3)), size)
    tensor = torch.from_numpy(view).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(tensor, size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    assert np.abs(picture - 255 * expected.numpy()).max() <= 1.0


def test_flat_and_broken_channels_are_grey():
    view = np.zeros((4, 4, 3), np.float32)
    view[..., 0] = 0.1 + 1e-9 * np.arange(16).reshape(4, 4)
    view[..., 1] = np.linspace(-1, 1, 16).reshape(4, 4)
    view[..., 2] = np.nan
    view[1, 1, 1] = np.inf
    limits = common_limits([view])
    assert np.isfinite(limits).all()
    picture = eigenvector_picture(view, (0, 1, 2), limits, (4, 4))
    assert np.all(picture[..., 0] == 128) and np.all(picture[..., 2] == 128) and picture[1, 1, 1] == 128
    assert picture[..., 1].min() == 0 and picture[..., 1].max() == 255


def test_eigenvector_of_few_nodes_is_visible():
    view = np.zeros((20, 20, 1), np.float32)
    view[3, 3] = 1
    picture = eigenvector_picture(view, (0,), common_limits([view]), (20, 20))
    assert np.all(picture[3, 3] == 255) and picture.sum() == 3 * 255


def test_two_channels_leave_blue_in_the_middle():
    view = np.stack(np.mgrid[:5, :5], axis=-1).astype(np.float32)
    picture = eigenvector_picture(view, (0, 1), (np.zeros(2), np.full(2, 4.0)), (5, 5))
    assert np.all(picture[..., 2] == 128) and picture[4, 0].tolist() == [255, 0, 128]


def test_clusters_have_the_colours_of_their_classes():
    table = colour_table(12)
    colours = cluster_colours(5, (2, -1, 0, 9, 1), 4)
    assert np.array_equal(colours, table[[2, 4, 0, 5, 1]])
    assert np.array_equal(cluster_colours(3, None, 0), table[:3])
    assert np.array_equal(cluster_colours(3, (1,), 4), table[[1, 4, 5]])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-1, 30), min_size=1, max_size=30), st.integers(0, 30))
def test_unmatched_clusters_have_unique_colours(matched, classes):
    colours = [tuple(colour) for colour in cluster_colours(len(matched), matched, classes)]
    of_classes = [tuple(colour) for colour in colour_table(classes)]
    own = [colour for colour, match in zip(colours, matched, strict=True) if not 0 <= match < classes]
    assert len(set(own)) == len(own) and not set(own) & set(of_classes)
    assert all(colour == of_classes[m] for colour, m in zip(colours, matched, strict=True) if 0 <= m < classes)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 3), st.integers(0, 10**6))
def test_borders_are_those_of_a_loop(height, width, thickness, seed):
    ids = np.random.default_rng(seed).integers(0, 3, (height, width))
    thin = np.zeros(ids.shape, bool)
    for y in range(height):
        for x in range(width):
            right = x + 1 < width and ids[y, x] != ids[y, x + 1]
            thin[y, x] = right or (y + 1 < height and ids[y, x] != ids[y + 1, x])
    thick = thin.copy()
    for y, x in zip(*np.nonzero(thin), strict=True):
        for step in range(thickness):
            thick[min(y + step, height - 1), x] |= y + step < height
            thick[y, min(x + step, width - 1)] |= x + step < width
    assert np.array_equal(borders(ids, thickness), thick)


def test_overlay_colours_regions_and_leaves_the_rest_grey():
    ids = np.array([[0, -1], [1, 7]])
    colours = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    picture = overlay(PHOTO, ids, colours).astype(int)
    assert swatch(colours[0]) == "#" + bytes(picture[2, 2].tolist()).hex()
    corners = picture[2, 2], picture[2, 35], picture[27, 2], picture[27, 35]
    assert corners[0][0] > corners[0][1] == corners[0][2] and corners[2][2] > corners[2][1]
    for grey in (corners[1], corners[3]):
        assert len(set(grey.tolist())) == 1
    assert np.all(picture[14] == 245) and np.all(picture[:, 19] == 245)


def test_agreement_counts_labelled_pixels_only():
    truth = np.array([[0, 0, 1, -1], [2, 2, 1, -1]])
    regions = np.array([[0, 1]])
    assert agreement(truth, regions, (0, 1)) == pytest.approx(4 / 6)
    assert agreement(truth, regions, (0,)) == pytest.approx(2 / 6)
    assert agreement(truth, np.array([[-1, 1]]), (0, 1)) == pytest.approx(2 / 6)
    assert agreement(np.full((2, 2), -1), regions, (0, 1)) is None
