"""The checker names the mistake: which it names, what it says, and when it holds its tongue."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.strategies import all_different, away_from_zero, random_array
from tests.student_mistakes import MISTAKES
from tests.wrong_backwards import GALLERY
from tinyunet import check_adjoint, check_gradients
from tinyunet.nn import diagnosis, functional
from tinyunet.nn.diagnosis import GradientError, axis_names, box, explain

# The kind of each mistake in the gallery; None where the numbers alone can't tell. Those of PLAIN
# show before any number is compared.
KINDS = {
    "im2col_that_overwrites_where_windows_overlap": "lost",
    "im2col_that_averages_where_windows_overlap": "mean for sum",
    "convolution_that_drops_a_tap": "region",
    "convolution_with_height_and_width_swapped": "turned",
    "convolution_whose_kernel_is_not_turned_around": "argument",
    "convolution_that_forgets_the_stride": "places",
    "convolution_that_cuts_the_padding_off_at_one_side": "shifted",
    "convolution_that_ignores_the_upstream": "ignores dy",
    "convolution_that_learns_from_the_first_image_only": "region",
    "convolution_with_the_bias_gradient_averaged": "mean for sum",
    "convolution_that_is_a_thousandth_off": "factor",
    "convolution_that_forgets_the_last_row": "region",
    "transposed_convolution_that_takes_its_gradient_for_its_input": "not linear",
    "transposed_convolution_whose_gradient_is_never_stored": "zero",
    "transposed_convolution_that_turns_the_kernel_around": "argument",
    "max_pool_that_gives_to_the_whole_window": "extra",
    "max_pool_that_shares_among_the_window": "extra",
    "max_pool_that_swaps_row_and_column_of_the_winner": "places",
    "upsampling_that_takes_the_mean": "mean for sum",
    "upsampling_that_looks_at_one_pixel_of_the_square": "lost",
    "concat_that_swaps_the_two": "order",
    "concat_that_loses_the_gradient_of_the_skip": "zero",
    "crop_that_is_one_pixel_off": "shifted",
    "fork_that_keeps_only_the_last_branch": "region",
    "relu_that_asks_the_gradient_for_its_sign": "not linear",
    "relu_that_lets_everything_through": "extra",
    "dropout_without_the_scale": "factor",
    "batch_norm_without_the_mean_term": "mean not taken off",
    "batch_norm_without_the_variance_term": "variance",
    "batch_norm_that_takes_its_statistics_for_constants": "variance",
    "batch_norm_whose_scale_learns_from_the_raw_input": "sum",
    "batch_norm_with_scale_and_shift_exchanged": "order",
    "softmax_whose_backward_is_zero": "zero",
    "softmax_without_the_sum_term": "lost",
    "cross_entropy_not_divided_by_the_sum_of_weights": "factor",
    "cross_entropy_divided_by_the_number_of_pixels": "factor",
    "cross_entropy_that_forgets_the_class_weights": "weights",
    "cross_entropy_that_learns_from_ignored_pixels": "extra",
    "cross_entropy_that_ignores_the_upstream": "ignores dy",
    "dice_whose_denominator_counts_as_constant": None,
    "dice_that_adds_the_classes_up": "factor",
    "dice_that_stops_at_the_probabilities": None,
}
PLAIN = {
    "convolution_with_a_bias_gradient_of_another_shape": "but bias has shape (2,)",
    "convolution_whose_gradient_has_another_dtype": "dx is float32",
    "relu_that_writes_into_the_upstream": "backward overwrites dy",
    "dropout_that_draws_a_new_mask": "a second call gives another dx",
}


def complaint(function, *arguments, **options):
    """Give the error that the checker raises."""
    with pytest.raises(GradientError) as caught:
        check_gradients(function, *arguments, **options)
    return caught.value


@pytest.mark.parametrize("wrong", GALLERY, ids=[wrong.name for wrong in GALLERY])
def test_mistakes_of_the_gallery_are_named(wrong):
    error = complaint(wrong.function, *wrong.arguments)
    assert len(str(error).splitlines()) <= 6
    if wrong.name in PLAIN:
        assert PLAIN[wrong.name] in str(error)
    else:
        assert error.kind == KINDS[wrong.name]


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.name for mistake in MISTAKES])
def test_a_students_mistake_is_named_or_said_to_be_unknown(mistake):
    error = complaint(mistake.function, *mistake.arguments)
    assert len(str(error).splitlines()) <= 6
    if mistake.kind == "returned":
        assert error.kind is None
        assert "the order is" in str(error) or "another order" in str(error)
    else:
        assert error.kind == mistake.kind
        assert ("none of the known mistakes" in str(error)) == (mistake.kind is None)


def test_four_of_five_mistakes_have_a_name():
    assert len(MISTAKES) == 60
    named = sum(mistake.kind is not None for mistake in MISTAKES)
    assert named >= 0.8 * len(MISTAKES)
    named = sum(kind is not None for kind in KINDS.values()) + len(PLAIN)
    assert len(KINDS) + len(PLAIN) == len(GALLERY)
    assert named >= 0.8 * len(GALLERY)


def elementwise(derivative):
    """Make an operation y = x^2 whose backward is dy, y, x -> derivative(dy, y, x)."""

    def function(x):
        y = x**2
        return y, lambda dy: derivative(dy, y, x)

    return function


X = random_array(0, (3, 4))
IMAGES = random_array(1, (2, 5, 6, 3))


@pytest.mark.parametrize(
    ("kind", "derivative", "says"),
    [
        ("not linear", lambda dy, y, x: 2 * x * dy + 0.1 * x, "add nothing"),
        ("not linear", lambda dy, y, x: 2 * x * abs(dy), "Multiply dy by what forward had"),
        ("sign", lambda dy, y, x: -2 * x * dy, "opposite sign"),
        ("factor", lambda dy, y, x: x * dy, "1/2 of what it should be"),
        (
            "factor",
            lambda dy, y, x: 24 * x * dy,
            "12 times what it should be (12 = rows * columns?)",
        ),
        ("times", lambda dy, y, x: 2 * dy, "the factor x is missing"),
        ("times", lambda dy, y, x: 2 * y * dy, "multiplied by x once too often"),
        ("zero", lambda dy, y, x: 0 * dy, "zero everywhere, though y depends on x"),
        (
            "region",
            lambda dy, y, x: 2 * x * dy * [1, 1, 1, 0],
            "its part in the last column is zero",
        ),
        ("region", lambda dy, y, x: 2 * x * dy * [[1], [3], [3]], "in rows 1 and 2 is 3 times"),
        (
            "weights",
            lambda dy, y, x: 2 * x * dy * [1, 2, 3, 4],
            "each column of dx has a factor: 1, 2",
        ),
        ("turned", lambda dy, y, x: (2 * x * dy)[::-1], "flipped along its rows"),
        ("turned", lambda dy, y, x: (x * dy)[::-1], "its rows. Apart from that, it is 1/2 of what"),
        ("shifted", lambda dy, y, x: np.roll(2 * x * dy, 1, axis=1), "shifted, +1 along its colu"),
        (None, lambda dy, y, x: 2 * x * dy * np.exp(x), "none of the known mistakes"),
    ],
)
def test_a_kind_is_named_in_words(kind, derivative, says):
    error = complaint(elementwise(derivative), X)
    assert error.kind == kind
    assert says in " ".join(str(error).split())


def test_an_inverted_mask_is_named():
    error = complaint(
        lambda x: (np.maximum(x, 0), lambda dy: dy * (x < 0)), away_from_zero(2, (3, 4))
    )
    assert error.kind == "inverted"


def test_a_sigmoid_without_its_second_factor_is_named():
    def sigmoid(x):
        y = 1 / (1 + np.exp(-x))
        return y, lambda dy: dy * y

    error = complaint(sigmoid, X)
    assert error.kind == "times"
    assert "the factor 1 - the result is missing" in str(error)


def test_a_threshold_in_the_wrong_place_is_no_missing_sum():
    error = complaint(
        lambda x: (np.maximum(x, 0), lambda dy: dy * (x > 0.5)), away_from_zero(2, (3, 4))
    )
    assert error.kind in ("lost", "region")
    assert "own place alone" not in str(error)


def test_a_single_number_can_be_wrong_too():
    error = complaint(lambda x: (np.sin(x), lambda dy: dy * np.sin(x)), np.array(0.7))
    assert "dx is wrong" in str(error)


def test_a_softmax_without_the_subtracted_sum_is_named():
    def softmax(logits):
        p, _ = functional.softmax(logits)
        return p, lambda dp: dp * p

    error = complaint(softmax, random_array(3, (2, 3)))
    assert error.kind == "normalization"
    assert "a multiple of softmax(logits) is missing" in str(error)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("border", "in its border; elsewhere it is right"),
        ("inside", "in columns 1, 2, 3 and 4 of rows 1, 2 and 3; elsewhere it is right"),
        ("channel", "in channel 1; elsewhere it is right"),
        ("image", "in the last image; elsewhere it is right"),
        ("entry", "in channel 1 of column 3 of row 2 of the last image is 2.7"),
    ],
)
def test_a_part_that_is_wrong_without_a_simpler_name_is_told(change, says):
    where = np.zeros(IMAGES.shape, bool)
    if change == "border":
        where[...] = True
        where[:, 1:-1, 1:-1] = False
    place = {
        "border": np.s_[:0],
        "inside": np.s_[:, 1:-1, 1:-1],
        "channel": np.s_[..., 1],
        "image": np.s_[1],
        "entry": np.s_[1, 2, 3, 1],
    }
    where[place[change]] = True
    noise = 1 + where * np.random.default_rng(0).uniform(0.5, 2, IMAGES.shape)
    error = complaint(lambda x: (np.sin(x), lambda dy: dy * np.cos(x) * noise), IMAGES)
    assert error.kind == "region"
    assert says in str(error)


def test_what_is_right_is_said_too():
    kernel, bias = random_array(2, (3, 3, 3, 2)), random_array(3, 2)

    def convolution(x, weight, bias):
        y, right = functional.conv2d(x, weight, bias)

        def backward(dy):
            dx, dweight, dbias = right(dy)
            return -dx, dweight, dbias

        return y, backward

    message = str(complaint(convolution, IMAGES, kernel, bias))
    assert message.splitlines()[0] == "dx is wrong: it has the opposite sign."
    assert message.splitlines()[-1] == "Right: dweight and dbias."


def test_what_nobody_can_name_is_shown():
    message = str(complaint(elementwise(lambda dy, y, x: dy * np.exp(x)), X))
    assert "none of the known mistakes explains" in message
    assert "backward: " in message and "measured: " in message
    assert len(message.splitlines()) <= 6


def test_a_number_alone_is_not_said_to_be_off_in_a_part():
    message = str(complaint(lambda x: (x**3, lambda dy: 2.5 * dy), np.array([2.0])))
    assert "elsewhere" not in message


def test_of_large_arrays_a_small_part_shows_the_mistake():
    error = complaint(lambda x: (x**2, lambda dy: x * dy), random_array(0, (2, 16, 24, 3)))
    assert error.kind == "factor"
    assert str(error).startswith("With x cut to (2, 4, 5, 3), dx is wrong: everywhere it is 1/2 of")


def test_the_parts_of_several_arrays_fit_each_other():
    def convolution(x, weight, bias):
        y, right = functional.conv2d(x, weight, bias, padding=1)
        return y, lambda dy: (right(dy)[0], right(dy)[1], dy.mean(axis=(0, 1, 2)))

    arguments = random_array(0, (8, 32, 24, 16)), random_array(1, (3, 3, 16, 12)), np.ones(12)
    message = " ".join(str(complaint(convolution, *arguments)).split())
    assert "weight cut to (3, 3, 5, 4)" in message and "dbias is wrong: it is a mean" in message
    assert message.endswith("Right: dx and dweight.")


def test_of_what_takes_no_smaller_arrays_the_worst_entry_is_told():
    def function(x):
        assert x.shape == (2, 16, 24, 3)
        return x**2, lambda dy: x * dy

    error = complaint(function, random_array(0, (2, 16, 24, 3)))
    assert error.kind is None
    assert re.match(r"dx\[\d, \d+, \d+, \d\] is wrong: backward says .*, measured is", str(error))


def test_an_adjoint_that_is_wrong_is_named_too():
    with pytest.raises(GradientError, match="not the adjoint") as caught:
        check_adjoint(lambda x: (x[::-1], lambda dy: dy), X)
    assert "dx is wrong" in str(caught.value)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (partial(functional.conv2d, padding=1), (IMAGES, random_array(2, (3, 3, 3, 2)))),
        (functional.max_pool2d, (all_different(3, (2, 4, 6, 2)),)),
        (functional.batch_norm2d, (IMAGES, random_array(4, 3), random_array(5, 3))),
        (functional.softmax, (random_array(6, (2, 3)),)),
    ],
)
def test_nothing_is_said_of_a_right_gradient(function, arguments):
    y, _ = function(*arguments)
    names = [f"argument {index}" for index in range(len(arguments))]
    assert explain(
        function, arguments, list(range(len(arguments))), names, random_array(9, y.shape)
    ) == (None, None)


def test_every_hypothesis_has_a_mistake_that_it_names():
    seen = {mistake.kind for mistake in MISTAKES} | set(KINDS.values())
    seen |= {"inverted", "normalization"}  # by the tests above
    source = Path(diagnosis.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r'(?:yield|return) "([a-z ]+)", ', source)) == seen - {None, "returned"}


def test_a_block_is_described_by_its_rows_and_channels():
    mask = np.zeros((2, 4, 5, 3), bool)
    everything = np.ones(mask.shape, bool)
    names = axis_names("x", mask.shape)
    mask[1, :, 0] = True
    assert box(mask, names, everything) == "the first column of the last image"
    mask[...] = False
    mask[:, 1:3, :, 1] = True
    assert box(mask, names, everything) == "channel 1 of rows 1 and 2"
    mask[0, 0, 0, 0] = True
    assert box(mask, names, everything) is None
    assert box(everything, names, everything) is None
