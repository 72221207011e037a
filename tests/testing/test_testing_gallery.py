"""Who checks the checker: a gallery of wrong Functions, each of which must be caught, and one of right ones that must pass."""

from __future__ import annotations

import copy
import os
import re

import numpy as np
import pytest
from gallery import awkward, kinds  # noqa: F401  # which enter more
from gallery.right import RIGHT
from gallery.wrong import FAULTS

from pancake.testing import GradientError, check_function, check_gradients

each_fault = pytest.mark.parametrize("name", FAULTS)


def complaint(check, fault):
    with pytest.raises(GradientError) as caught:
        check(fault.make(), fault.x, target=copy.deepcopy(fault.target))
    return str(caught.value), caught.value.report


@each_fault
def test_check_function_catches_and_names_it(name):
    fault = FAULTS[name]
    text, report = complaint(check_function, fault)
    said = text.split("\n\nTo reproduce:")[0]
    assert fault.says in said
    if fault.named:
        assert wrong_names(report) >= {fault.named}
        assert not wrong_names(report) & set(fault.right)
    assert not re.search(r"Error: .*Error: ", said)


@pytest.mark.parametrize("name", [name for name in FAULTS if FAULTS[name].named])
def test_check_gradients_catches_wrong_maths_at_the_right_index(name):
    fault = FAULTS[name]
    text, report = complaint(check_gradients, fault)
    assert re.search(rf"\.{re.escape(fault.named)}(\[[\d, ]+\])?: backward ", text)
    array = next(array for array in report.arrays if array.name == fault.named)
    if fault.index is not None:
        assert fault.index in [entry.index for entry in array.wrong]
        assert len(array.wrong) < array.size
    assert not wrong_names(report) & set(fault.right)


def wrong_names(report):
    return {array.name for array in report.arrays if array.wrong}


# HYPOTHESIS_PROFILE=thorough draws 2,000 of each; else fewer of the large ones, and fewer for the whole contract.
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
LARGE = {"a_bias_before_a_thousand_kinks", "a_large_net_of_kinks", "a_large_input_on_a_grid", "large_logarithms"}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize(("check", "seeds"), [(check_gradients, 4), (check_function, 1)])
def test_no_false_alarm(name, check, seeds):
    for seed in range(2000 if THOROUGH else 1 if name in LARGE else seeds):
        function, x, target = RIGHT[name](np.random.default_rng(seed))
        report = check(function, x, target=target)
        assert report.ok
        assert report.arrays
        for array in report.arrays:
            assert array.checked == array.right + array.skipped + array.inconclusive
            assert array.checked == array.size or array.size > 400


@pytest.mark.parametrize("seed", [178, 307, 420, 649])
def test_an_entry_between_others_that_are_tied_has_a_slope_of_its_own(seed):
    """A sorting hands on the gradient of the place in the middle, which no move of that entry alone finds at the tie."""
    function, x, _ = RIGHT["sorting_with_ties"](np.random.default_rng(seed))
    assert check_gradients(function, x).ok


def test_a_gradient_that_jumps_at_a_kink_is_not_kept_in_float32():
    """A move of 1e-6 crosses a kink of this net, by which the gradient of one row changes, and one of 1e-11 does not."""
    function, x, _ = RIGHT["a_large_net_of_kinks"](np.random.default_rng(172))
    assert check_function(function, x).ok


@pytest.mark.parametrize("seed", [111, 116, 127])
def test_what_float32_leaves_of_a_normalisation_is_rounding(seed):
    """Of two features a normalisation leaves the signs alone, and a gradient of what the mean of large numbers is rounded by."""
    function, x, _ = RIGHT["layer_norm_of_a_thousand"](np.random.default_rng(seed))
    assert check_function(function, x).ok


# Of these at least so large a part of the entries must be proved, neither skipped nor called inconclusive.
PROVED = {
    "large_values": 0.95,
    "layer_norm_of_a_thousand": 1.0,
    "layer_norm_of_almost_nothing": 1.0,
    "square_root_near_zero": 1.0,
    "logarithm_near_zero": 1.0,
    "a_domain_that_is_guarded": 1.0,
    "quickly_swinging": 1.0,
    "narrow_bumps": 1.0,
    "reciprocals": 1.0,
    "norm_through_linalg": 1.0,
    "a_bias_before_a_thousand_kinks": 0.99,
    "a_large_net_of_kinks": 1.0,
    "only_in_single_precision": 0.9,
    "dropout_with_a_generator": 1.0,
}


@pytest.mark.parametrize("name", PROVED)
def test_awkward_functions_are_not_just_waved_through(name):
    checked = right = 0
    for seed in range(3):
        function, x, target = RIGHT[name](np.random.default_rng(seed))
        report = check_gradients(function, x, target=target)
        checked += sum(array.checked for array in report.arrays)
        right += sum(array.right for array in report.arrays)
    assert right >= PROVED[name] * checked > 0


def test_the_gallery_is_large():
    assert len(FAULTS) >= 120
    assert len(RIGHT) >= 65
