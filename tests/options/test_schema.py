"""The words for values that an option does not allow: its name as typed, the value, what is allowed."""

import pytest

from spectral_graph.config import RunConfig, make_config
from spectral_graph.errors import ConfigError
from spectral_graph.options.schema import as_typed
from spectral_graph.per_image.options import make_image_config


@pytest.mark.parametrize(
    ("make", "given", "words"),
    [
        (make_config, {"clusters": "-3"}, "`clusters=-3`: give a whole number, 2 or more"),
        (make_config, {"c_intra": "x"}, "`c_intra=x`: give a whole number, 0 or more"),
        (make_config, {"recall": "1"}, "`recall=1`: give a number, above 0, below 1"),
        (make_config, {"limit": 0}, "`limit=0`: give a whole number, 1 or more"),
        (make_config, {"image_batch": "0"}, "`image_batch=0`: give auto, or a whole number, 1 or more"),
        (make_config, {"kinds": "vv,xx"}, "`kinds=xx`: give one of vv, qk, kk; several are divided by commas"),
        (make_config, {"solver": "magic"}, "`solver=magic`: give one of chebyshev, adam"),
        (make_config, {"kmeans_seeds": "-1"}, "`kmeans_seeds=-1`: give a whole number, 0 or more, below 2147483648"),
        (make_config, {"device": "gpu"}, "`device=gpu`: there is no such device; give cpu, cuda or cuda:N"),
        (make_config, {"no_option": 1}, "`no_option=1`: there is no such option"),
        (make_image_config, {"size": "0"}, "`size=0`: give a whole number, 1 or more, 8192 or less"),
        (make_image_config, {"mask_iou": "3"}, "`mask_iou=3`: give a number, above 0, 1 or less"),
    ],
)
def test_a_value_that_is_not_allowed_names_option_value_and_what_is(make, given, words):
    with pytest.raises(ConfigError) as error:
        make(given)
    assert str(error.value).startswith(words)


def test_every_limit_of_a_number_is_in_words():
    """Tried with a text that is no number: the words come from the declaration, not from the failure."""
    for name, field in RunConfig.model_fields.items():
        if field.annotation not in (int, float):
            continue
        with pytest.raises(ConfigError, match=r"give a (whole )?number") as error:
            make_config({name: "x"})
        for limit in field.metadata:
            bounds = [getattr(limit, side) for side in ("ge", "gt", "le", "lt") if hasattr(limit, side)]
            assert all(str(bound) in str(error.value) for bound in bounds)


def test_the_command_line_prints_options_as_they_are_typed():
    text = "`c_inter=-1`: lower `c_inter`, or `force=graph`; `mine=1` and `x`; a `b"
    typed = "--c-inter -1: lower --c-inter, or --force graph; `mine=1` and `x`; a `b"
    assert as_typed(text, {"c_inter", "force"}) == typed
