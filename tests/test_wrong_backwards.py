"""The tests are tested: every wrong backward of the gallery is caught, every right one passes."""

import numpy as np
import pytest

from tests.comparing import as_tuple, is_floating
from tests.functional.test_pooling import assert_that_the_first_wins_a_tie
from tests.wrong_backwards import BREAKERS_OF_TIES, GALLERY
from tinyunet.functional import max_pool2d
from tinyunet.gradcheck import GradientError, check_gradients, numerical_gradient

NAMES = [wrong.name for wrong in GALLERY]

BLIND_TO = {
    "convolution_that_ignores_the_upstream",
    "cross_entropy_that_ignores_the_upstream",
    "im2col_that_averages_where_windows_overlap",
    "softmax_whose_backward_is_zero",
}


@pytest.mark.parametrize("wrong", GALLERY, ids=NAMES)
def test_the_checker_catches(wrong):
    with pytest.raises(GradientError):
        check_gradients(wrong.function, *wrong.arguments)


@pytest.mark.parametrize("wrong", GALLERY, ids=NAMES)
def test_a_single_random_direction_catches_it_too(wrong):
    with pytest.raises(GradientError):
        check_gradients(wrong.function, *wrong.arguments, coordinates=False)


@pytest.mark.parametrize("wrong", GALLERY, ids=NAMES)
def test_the_right_one_passes_beside(wrong):
    check_gradients(wrong.right, *wrong.arguments, tolerance=1e-7)
    right, _ = wrong.right(*wrong.arguments)
    result, _ = wrong.function(*wrong.arguments)
    np.testing.assert_array_equal(result, right)


def test_the_gallery_is_large_and_every_picture_has_its_story():
    assert len(GALLERY) >= 24
    assert len(set(NAMES)) == len(NAMES)
    assert all(wrong.story for wrong in GALLERY)


def passes_with_an_upstream_of_ones(wrong):
    """Check as many projects do: sum the result up and compare with differences."""
    result, backward = wrong.function(*wrong.arguments)
    ones = np.ones_like(result)
    numerical = as_tuple(numerical_gradient(wrong.function, *wrong.arguments, dy=ones))
    analytic = as_tuple(backward(ones.copy()))
    return all(
        a.shape == n.shape and np.allclose(a, n, rtol=1e-6, atol=1e-7)
        for a, n in zip(analytic, numerical, strict=True)
    )


def test_a_check_with_an_upstream_of_ones_would_let_some_of_them_pass():
    passed = {wrong.name for wrong in GALLERY if passes_with_an_upstream_of_ones(wrong)}
    assert passed == BLIND_TO


@pytest.mark.parametrize("pool", BREAKERS_OF_TIES, ids=lambda pool: pool.__name__)
def test_the_test_of_ties_catches(pool):
    assert_that_the_first_wins_a_tie(max_pool2d, np)
    with pytest.raises(AssertionError):
        assert_that_the_first_wins_a_tie(pool, np)


def test_all_gradients_of_the_gallery_are_of_floating_arguments():
    for wrong in GALLERY:
        assert any(is_floating(argument) for argument in wrong.arguments)
