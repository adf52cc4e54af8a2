"""Sixty mistakes that students make in a backward: ten in each of six operations.

They were written before the diagnosis was, so that it can't have been made to fit them. Each has
the *kind* that a helpful tutor would name; where no honest tutor could name one from the numbers
alone, the kind is None. `test_diagnosis` asks that four of five are named, and none by a wrong
name.

Each operation is written out with its right gradients, and each mistake takes what the backward had
at hand and gives what the student returned.
"""

from typing import Any, NamedTuple

import numpy as np

from tests.strategies import all_different, random_array
from tinyunet.nn import functional


class Mistake(NamedTuple):
    """A wrong operation, the kind of its mistake, and arguments that show it."""

    name: str
    kind: str | None
    function: Any
    arguments: tuple


MISTAKES: list[Mistake] = []


def mistake(kind, operation, *arguments):
    """Note a mistake: a function of the right gradients, dy, and the arguments."""

    def note(wrong_gradients):
        def function(*given):
            y, right = operation(*given)
            return y, lambda dy: wrong_gradients(right(dy), dy, *given)

        # The signature of the operation, for the names of its arguments
        function.__wrapped__ = operation
        MISTAKES.append(Mistake(wrong_gradients.__name__, kind, function, arguments))
        return wrong_gradients

    return note


# ------------------------------------------------------------------- a matrix product with a bias


def affine(x, weight, bias):
    """Multiply by a matrix and add a bias."""
    return x @ weight + bias, lambda dy: (dy @ weight.T, x.T @ dy, dy.sum(axis=0))


AFFINE = random_array(20, (5, 3)), random_array(21, (3, 4)), random_array(22, 4)
SQUARE = random_array(23, (5, 3)), random_array(24, (3, 3)), random_array(25, 3)
AS_MANY = random_array(26, (4, 3)), random_array(27, (3, 4)), random_array(28, 4)


@mistake("mean for sum", affine, *AFFINE)
def affine_with_the_mean_of_the_bias(right, dy, x, weight, bias):
    return right[0], right[1], dy.mean(axis=0)


@mistake("mean for sum", affine, *AFFINE)
def affine_whose_weights_are_averaged_over_the_batch(right, dy, x, weight, bias):
    return right[0], x.T @ dy / len(x), right[2]


@mistake("sign", affine, *AFFINE)
def affine_with_a_minus(right, dy, x, weight, bias):
    return -dy @ weight.T, right[1], right[2]


@mistake("region", affine, *AFFINE)
def affine_that_learns_from_the_last_row(right, dy, x, weight, bias):
    for row in range(len(x)):
        dweight = np.outer(x[row], dy[row])
    return right[0], dweight, right[2]


@mistake("argument", affine, *SQUARE)
def affine_that_forgets_to_transpose_the_weights(right, dy, x, weight, bias):
    return dy @ weight, right[1], right[2]


@mistake("turned", affine, *SQUARE)
def affine_with_the_product_the_wrong_way_round(right, dy, x, weight, bias):
    return right[0], dy.T @ x, right[2]


@mistake("ignores dy", affine, *AFFINE)
def affine_whose_bias_counts_the_rows(right, dy, x, weight, bias):
    return right[0], right[1], np.full(4, float(len(x)))


@mistake("returned", affine, *AFFINE)
def affine_with_gradients_in_another_order(right, dy, x, weight, bias):
    return right[1], right[0], right[2]


@mistake("times", affine, *AFFINE)
def affine_times_x_once_more(right, dy, x, weight, bias):
    return dy @ weight.T * x, right[1], right[2]


@mistake("sum", affine, *AS_MANY)
def affine_whose_bias_is_summed_along_the_other_axis(right, dy, x, weight, bias):
    return right[0], right[1], dy.sum(axis=1)


# ---------------------------------------------------------------------------------- convolution


def convolve(x, weight, bias):
    """Convolve with a border of one pixel."""
    return functional.conv2d(x, weight, bias, padding=1)


IMAGES = random_array(30, (2, 5, 6, 3))
CONVOLUTION = IMAGES, random_array(31, (3, 3, 3, 2)), random_array(32, 2)
AS_MANY_FILTERS = IMAGES, random_array(33, (3, 3, 3, 3)), random_array(34, 3)


def padded_gradient(dy, weight, add=True):
    """Give the gradient of the padded image, by a loop over the kernel's taps."""
    images, height, width, _ = dy.shape
    dpadded = np.zeros((images, height + 2, width + 2, weight.shape[2]))
    for u in range(3):
        for v in range(3):
            place = dpadded[:, u : u + height, v : v + width]
            place[...] = dy @ weight[u, v].T + (place if add else 0)
    return dpadded


@mistake("argument", convolve, *CONVOLUTION)
def convolution_with_the_kernel_as_it_is(right, dy, x, weight, bias):
    return padded_gradient(dy, weight[::-1, ::-1])[:, 1:-1, 1:-1], right[1], right[2]


@mistake("turned", convolve, *CONVOLUTION)
def convolution_with_the_kernels_gradient_turned(right, dy, x, weight, bias):
    return right[0], right[1][::-1, ::-1], right[2]


@mistake("argument", convolve, *CONVOLUTION)
def convolution_with_the_kernel_turned_half(right, dy, x, weight, bias):
    return padded_gradient(dy, weight[:, ::-1])[:, 1:-1, 1:-1], right[1], right[2]


@mistake("lost", convolve, *CONVOLUTION)
def convolution_that_overwrites_tap_by_tap(right, dy, x, weight, bias):
    return padded_gradient(dy, weight, add=False)[:, 1:-1, 1:-1], right[1], right[2]


@mistake("region", convolve, *CONVOLUTION)
def convolution_whose_loop_over_rows_ends_early(right, dy, x, weight, bias):
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    dweight = np.zeros_like(weight)
    for i in range(dy.shape[1] - 1):
        for j in range(dy.shape[2]):
            dweight += np.einsum("nuvc,nf->uvcf", padded[:, i : i + 3, j : j + 3], dy[:, i, j])
    return right[0], dweight, right[2]


@mistake("region", convolve, *CONVOLUTION)
def convolution_whose_bias_sees_one_column(right, dy, x, weight, bias):
    return right[0], right[1], dy.sum(axis=(0, 1))[0]


@mistake("shifted", convolve, *CONVOLUTION)
def convolution_that_leaves_the_border_on(right, dy, x, weight, bias):
    return padded_gradient(dy, weight)[:, :5, :6], right[1], right[2]


@mistake("factor", convolve, *CONVOLUTION)
def convolution_averaged_over_the_images(right, dy, x, weight, bias):
    return right[0], right[1] / len(x), right[2]


@mistake("region", convolve, *CONVOLUTION)
def convolution_that_hears_one_filter(right, dy, x, weight, bias):
    return padded_gradient(dy[..., :1], weight[..., :1])[:, 1:-1, 1:-1], right[1], right[2]


@mistake("argument", convolve, *AS_MANY_FILTERS)
def convolution_with_channels_and_filters_exchanged(right, dy, x, weight, bias):
    exchanged = weight.transpose(0, 1, 3, 2)
    return padded_gradient(dy, exchanged)[:, 1:-1, 1:-1], right[1], right[2]


# ---------------------------------------------------------------------------------- max pooling

POOLED = (all_different(40, (2, 4, 6, 2)),)


def stretched(y):
    """Repeat each number over its window of 2 x 2."""
    return y.repeat(2, axis=1).repeat(2, axis=2)


def winners(x):
    """Mark the largest number of each window."""
    return x == stretched(functional.max_pool2d(x)[0])


def windows_of(x):
    """Give the four members of each window an axis of their own: (N, OH, OW, C, 4)."""
    images, height, width, channels = x.shape
    windows = x.reshape(images, height // 2, 2, width // 2, 2, channels)
    return windows.transpose(0, 1, 3, 5, 2, 4).reshape(images, height // 2, width // 2, channels, 4)


def from_windows(windows):
    """Put the four members of each window back into the image."""
    images, height, width, channels, _ = windows.shape
    windows = windows.reshape(images, height, width, channels, 2, 2)
    return windows.transpose(0, 1, 4, 2, 5, 3).reshape(images, 2 * height, 2 * width, channels)


@mistake("extra", functional.max_pool2d, *POOLED)
def pool_that_gives_to_all_four(right, dy, x):
    return stretched(dy)


@mistake("extra", functional.max_pool2d, *POOLED)
def pool_that_divides_among_four(right, dy, x):
    return stretched(dy) / 4


@mistake("places", functional.max_pool2d, *POOLED)
def pool_that_gives_to_the_upper_left(right, dy, x):
    dx = np.zeros_like(x)
    dx[:, ::2, ::2] = dy
    return dx


@mistake("places", functional.max_pool2d, *POOLED)
def pool_that_gives_to_the_smallest(right, dy, x):
    return stretched(dy) * winners(-x)


@mistake("ignores dy", functional.max_pool2d, *POOLED)
def pool_that_returns_the_winners(right, dy, x):
    return 1.0 * winners(x)


@mistake("factor", functional.max_pool2d, *POOLED)
def pool_that_divides_by_the_window(right, dy, x):
    return right / 4


@mistake("region", functional.max_pool2d, *POOLED)  # there is a single one in these images
def pool_whose_winners_must_be_positive(right, dy, x):
    return right * (x > 0)


@mistake("places", functional.max_pool2d, *POOLED)
def pool_that_takes_the_winners_of_the_first_channel(right, dy, x):
    return stretched(dy) * winners(x)[..., :1]


@mistake("extra", functional.max_pool2d, *POOLED)
def pool_with_a_winner_in_each_row(right, dy, x):
    pairs = windows_of(x).reshape(2, 2, 3, 2, 2, 2)
    best = pairs == pairs.max(axis=-1, keepdims=True)
    return from_windows((best * dy[..., None, None]).reshape(2, 2, 3, 2, 4))


@mistake("places", functional.max_pool2d, *POOLED)
def pool_that_tiles_where_it_should_repeat(right, dy, x):
    return np.tile(dy, (1, 2, 2, 1)) * winners(x)


# ------------------------------------------------------------------------ transposed convolution

SMALL_IMAGES = random_array(50, (2, 3, 4, 2))
STAMPS = SMALL_IMAGES, random_array(51, (2, 2, 3, 2)), random_array(52, 3)
OVERLAPPING = SMALL_IMAGES, random_array(53, (3, 3, 3, 2)), random_array(54, 3)


@mistake("argument", functional.conv_transpose2d, *STAMPS)
def stamps_turned_around(right, dy, x, weight, bias):
    return functional.conv2d(dy, weight[::-1, ::-1], stride=2)[0], right[1], right[2]


@mistake("zero", functional.conv_transpose2d, *STAMPS)
def stamps_that_never_learn(right, dy, x, weight, bias):
    return right[0], np.zeros_like(weight), right[2]


@mistake("sign", functional.conv_transpose2d, *STAMPS)
def stamps_that_learn_the_opposite(right, dy, x, weight, bias):
    return right[0], -right[1], right[2]


@mistake("mean for sum", functional.conv_transpose2d, *STAMPS)
def stamps_with_the_mean_of_the_bias(right, dy, x, weight, bias):
    return right[0], right[1], dy.mean(axis=(0, 1, 2))


@mistake("turned", functional.conv_transpose2d, *STAMPS)
def stamps_with_rows_and_columns_exchanged(right, dy, x, weight, bias):
    return right[0], right[1].transpose(1, 0, 2, 3), right[2]


@mistake("lost", functional.conv_transpose2d, *OVERLAPPING)
def stamps_of_which_one_tap_is_read(right, dy, x, weight, bias):
    return dy[:, :-1:2, :-1:2] @ weight[0, 0], right[1], right[2]


@mistake("returned", functional.conv_transpose2d, *STAMPS)
def stamps_with_channels_the_other_way_round(right, dy, x, weight, bias):
    return right[0], right[1].transpose(0, 1, 3, 2), right[2]


@mistake("places", functional.conv_transpose2d, *STAMPS)
def stamps_read_a_pixel_apart(right, dy, x, weight, bias):
    dx = np.zeros_like(x)
    for u in range(2):
        for v in range(2):
            dx += dy[:, u : u + 3, v : v + 4] @ weight[u, v]
    return dx, right[1], right[2]


@mistake("factor", functional.conv_transpose2d, *STAMPS)
def stamps_that_count_twice(right, dy, x, weight, bias):
    return right[0] + right[0], right[1], right[2]


@mistake("region", functional.conv_transpose2d, *STAMPS)
def stamps_that_learn_from_the_last_image(right, dy, x, weight, bias):
    for image in range(len(x)):
        _, backward = functional.conv_transpose2d(x[image : image + 1], weight)
        _, dweight = backward(dy[image : image + 1])
    return right[0], dweight, right[2]


# --------------------------------------------------------------------------- batch normalization

NORMALIZED = random_array(60, (2, 3, 4, 3)), random_array(61, 3), random_array(62, 3)
PIXELS = (0, 1, 2)


def parts(dy, x, gamma):
    """Give the normalized x, what it was divided by, and its upstream gradient."""
    deviation = np.sqrt(x.var(axis=PIXELS) + 1e-5)
    return (x - x.mean(axis=PIXELS)) / deviation, deviation, dy * gamma


@mistake("mean not taken off", functional.batch_norm2d, *NORMALIZED)
def norm_that_leaves_the_mean_in(right, dy, x, gamma, beta):
    x_hat, deviation, dx_hat = parts(dy, x, gamma)
    return (dx_hat - x_hat * (dx_hat * x_hat).mean(axis=PIXELS)) / deviation, right[1], right[2]


@mistake("variance", functional.batch_norm2d, *NORMALIZED)
def norm_that_leaves_the_variance_in(right, dy, x, gamma, beta):
    x_hat, deviation, dx_hat = parts(dy, x, gamma)
    return (dx_hat - dx_hat.mean(axis=PIXELS)) / deviation, right[1], right[2]


@mistake("variance", functional.batch_norm2d, *NORMALIZED)
def norm_with_constant_statistics(right, dy, x, gamma, beta):
    x_hat, deviation, dx_hat = parts(dy, x, gamma)
    return dx_hat / deviation, right[1], right[2]


@mistake("times", functional.batch_norm2d, *NORMALIZED)
def norm_that_forgets_gamma(right, dy, x, gamma, beta):
    return right[0] / gamma, right[1], right[2]


@mistake("weights", functional.batch_norm2d, *NORMALIZED)
def norm_divided_by_the_variance(right, dy, x, gamma, beta):
    return right[0] / parts(dy, x, gamma)[1], right[1], right[2]


@mistake("sum", functional.batch_norm2d, *NORMALIZED)
def norm_whose_scale_learns_from_x(right, dy, x, gamma, beta):
    return right[0], (dy * x).sum(axis=PIXELS), right[2]


@mistake("order", functional.batch_norm2d, *NORMALIZED)
def norm_with_scale_and_shift_swapped(right, dy, x, gamma, beta):
    return right[0], right[2], right[1]


@mistake("mean for sum", functional.batch_norm2d, *NORMALIZED)
def norm_with_the_mean_of_the_shift(right, dy, x, gamma, beta):
    return right[0], right[1], dy.mean(axis=PIXELS)


@mistake(None, functional.batch_norm2d, *NORMALIZED)
def norm_that_takes_its_means_image_by_image(right, dy, x, gamma, beta):
    x_hat, deviation, dx_hat = parts(dy, x, gamma)
    mean, product = (array.mean(axis=(1, 2), keepdims=True) for array in (dx_hat, dx_hat * x_hat))
    return (dx_hat - mean - x_hat * product) / deviation, right[1], right[2]


@mistake("variance", functional.batch_norm2d, *NORMALIZED)
def norm_that_adds_the_variance_term(right, dy, x, gamma, beta):
    x_hat, deviation, dx_hat = parts(dy, x, gamma)
    product = (dx_hat * x_hat).mean(axis=PIXELS)
    return (dx_hat - dx_hat.mean(axis=PIXELS) + x_hat * product) / deviation, right[1], right[2]


# -------------------------------------------------------------------- softmax with cross-entropy

SCORES = random_array(70, (2, 3, 4, 3)), np.random.default_rng(71).integers(0, 3, (2, 3, 4))


def probabilities(logits):
    """Turn scores into probabilities."""
    return functional.softmax(logits)[0]


def truth(labels):
    """Mark the true class of each pixel."""
    return np.eye(3)[labels]


@mistake("factor", functional.softmax_cross_entropy, *SCORES)
def entropy_summed_over_the_pixels(right, dloss, logits, labels):
    return dloss * (probabilities(logits) - truth(labels))


@mistake("factor", functional.softmax_cross_entropy, *SCORES)
def entropy_divided_by_the_images(right, dloss, logits, labels):
    return dloss * (probabilities(logits) - truth(labels)) / len(logits)


@mistake("region", functional.softmax_cross_entropy, *SCORES)
def entropy_that_forgets_the_truth(right, dloss, logits, labels):
    return dloss * probabilities(logits) / labels.size


@mistake("sign", functional.softmax_cross_entropy, *SCORES)
def entropy_the_other_way_round(right, dloss, logits, labels):
    return dloss * (truth(labels) - probabilities(logits)) / labels.size


@mistake("ignores dy", functional.softmax_cross_entropy, *SCORES)
def entropy_without_its_upstream(right, dloss, logits, labels):
    return (probabilities(logits) - truth(labels)) / labels.size


@mistake("times", functional.softmax_cross_entropy, *SCORES)
def entropy_times_the_probabilities(right, dloss, logits, labels):
    return right * probabilities(logits)


@mistake("region", functional.softmax_cross_entropy, *SCORES)
def entropy_that_takes_one_off_everywhere(right, dloss, logits, labels):
    return dloss * (probabilities(logits) - 1) / labels.size


@mistake("factor", functional.softmax_cross_entropy, *SCORES)
def entropy_divided_by_the_classes_too(right, dloss, logits, labels):
    return right / 3


@mistake("lost", functional.softmax_cross_entropy, *SCORES)
def entropy_of_the_true_class_alone(right, dloss, logits, labels):
    return right * truth(labels)


@mistake(None, functional.softmax_cross_entropy, *SCORES)
def entropy_over_the_wrong_axis(right, dloss, logits, labels):
    wrong = probabilities(logits.swapaxes(1, 3)).swapaxes(1, 3)
    return dloss * (wrong - truth(labels)) / labels.size
