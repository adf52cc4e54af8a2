"""The tests are tested: every wrong backward of the gallery is caught, every right one passes."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.comparing import as_tuple, is_floating
from tests.functional.test_pooling import assert_that_the_first_wins_a_tie
from tests.wrong_backwards import BREAKERS_OF_TIES, GALLERY
from tinyunet.nn.functional import max_pool2d
from tinyunet.nn.gradcheck import GradientError, check_gradients, numerical_gradient

NAMES = [wrong.name for wrong in GALLERY]

# What a check sees nothing of if its upstream gradient is all ones, as it is in many projects.
HIDDEN_BY_ONES = {
    "batch_norm_without_the_variance_term",
    "concat_that_swaps_the_two",
    "convolution_that_ignores_the_upstream",
    "cross_entropy_that_ignores_the_upstream",
    "softmax_whose_backward_is_zero",
    "transposed_convolution_that_turns_the_kernel_around",
}
# What a check sees nothing of if it compares only numbers.
HIDDEN_BETWEEN_THE_NUMBERS = {
    "convolution_whose_gradient_has_another_dtype",
    "relu_that_writes_into_the_upstream",
}


@pytest.mark.parametrize("wrong", GALLERY, ids=NAMES)
def test_the_checker_catches(wrong):
    with pytest.raises(GradientError):
        check_gradients(wrong.function, *wrong.arguments)


@pytest.mark.parametrize("wrong", GALLERY, ids=NAMES)
def test_a_single_random_direction_catches_it_too(wrong):
    with pytest.raises(GradientError):
        check_gradients(wrong.function, *wrong.arguments, coordinates=0)


@pytest.mark.parametrize("wrong", GALLERY, ids=NAMES)
def test_the_right_one_passes_beside(wrong):
    check_gradients(wrong.right, *wrong.arguments, tolerance=1e-7)
    right, _ = wrong.right(*wrong.arguments)
    result, _ = wrong.function(*wrong.arguments)
    np.testing.assert_array_equal(result, right)


def test_the_gallery_is_as_large_as_the_readme_says_and_every_picture_has_its_story():
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    said = re.findall(r"gallery\s+of\s+(\d+)\s+wrong\s+backwards", readme)
    assert said == [str(len(GALLERY))]
    assert len(set(NAMES)) == len(NAMES)
    assert all(wrong.story for wrong in GALLERY)


def passes_with_an_upstream_of_ones(wrong):
    """Check as many projects do: sum the result up and compare with differences."""
    result, backward = wrong.function(*wrong.arguments)
    gradients = iter(as_tuple(backward(np.ones_like(result))))
    for place, argument in enumerate(wrong.arguments):
        if not is_floating(argument):
            continue

        def moved(x, place=place):
            arguments = (*wrong.arguments[:place], x, *wrong.arguments[place + 1 :])
            return wrong.function(*arguments)[0]

        measured, gradient = numerical_gradient(moved, argument), next(gradients)
        if gradient.shape != measured.shape or not np.allclose(gradient, measured, 1e-6, 1e-7):
            return False
    return True


def test_a_check_with_an_upstream_of_ones_would_let_some_of_them_pass():
    passed = {wrong.name for wrong in GALLERY if passes_with_an_upstream_of_ones(wrong)}
    assert passed == HIDDEN_BY_ONES | HIDDEN_BETWEEN_THE_NUMBERS


@pytest.mark.parametrize("pool", BREAKERS_OF_TIES, ids=lambda pool: pool.__name__)
def test_the_test_of_ties_catches(pool):
    assert_that_the_first_wins_a_tie(max_pool2d, np)
    with pytest.raises(AssertionError):
        assert_that_the_first_wins_a_tie(pool, np)


def test_all_gradients_of_the_gallery_are_of_floating_arguments():
    for wrong in GALLERY:
        assert any(is_floating(argument) for argument in wrong.arguments)
