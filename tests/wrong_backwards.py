"""A gallery of wrong backwards: what a test must see, because the loss falls all the same.

Each of them computes the right result and a wrong gradient, by a mistake that people make (several
were found in published code). Its first line tells the mistake. The decorator tells which operation
it ought to be, and with which arguments the two differ. `test_wrong_backwards` asks the checker to
catch every one, and to let the right operation pass with the same arguments.
"""

# ruff: noqa: D401  (the first line tells the mistake, so it is no order)

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tests.strategies import all_different, away_from_zero, random_array
from tinyunet.nn import functional


class Wrong(NamedTuple):
    """A wrong operation, the right one, and arguments that tell them apart."""

    name: str
    story: str
    function: Any
    right: Any
    arguments: tuple


GALLERY: list[Wrong] = []


def wrong(right, *arguments):
    """Hang a function into the gallery, beside the one it should have been."""

    def hang(function):
        GALLERY.append(Wrong(function.__name__, function.__doc__, function, right, arguments))
        return function

    return hang


IMAGES = random_array(1, (2, 5, 6, 3))
KERNEL = random_array(2, (3, 3, 3, 2))
BIAS = random_array(3, 2)
SMALL_IMAGES = random_array(4, (2, 3, 4, 2))
UP_KERNEL = random_array(5, (2, 2, 3, 2))
UP_BIAS = random_array(6, 3)
GAMMA, BETA = random_array(7, 3), random_array(8, 3)
LOGITS = random_array(9, (2, 3, 4, 3))
LABELS = np.random.default_rng(10).integers(0, 3, (2, 3, 4))
HOLEY_LABELS = np.where(np.random.default_rng(11).random((2, 3, 4)) < 0.4, 255, LABELS)
CLASS_WEIGHTS = np.array([0.2, 1.0, 3.0])
POOLED_IMAGES = all_different(12, (2, 4, 6, 2))

conv2d_with_stride = partial(functional.conv2d, stride=2)
conv2d_with_padding = partial(functional.conv2d, padding=1)
weighted_cross_entropy = partial(functional.softmax_cross_entropy, class_weights=CLASS_WEIGHTS)
cross_entropy_with_holes = partial(functional.softmax_cross_entropy, ignore_index=255)


# ---------------------------------------------------------------------------- patches


@wrong(partial(functional.im2col, kernel_size=(3, 3)), IMAGES)
def im2col_that_overwrites_where_windows_overlap(x):
    """Each pixel gets the gradient of the last patch it lies in, not of all of them."""
    columns, _ = functional.im2col(x, (3, 3))

    def backward(dcolumns):
        dx = np.zeros_like(x)
        for i in range(dcolumns.shape[1]):
            for j in range(dcolumns.shape[2]):
                dx[:, i : i + 3, j : j + 3] = dcolumns[:, i, j]
        return dx

    return columns, backward


@wrong(partial(functional.im2col, kernel_size=(3, 3)), IMAGES)
def im2col_that_averages_where_windows_overlap(x):
    """A pixel that was copied nine times gets the mean of nine gradients in place of the sum."""
    columns, right = functional.im2col(x, (3, 3))

    def backward(dcolumns):
        return right(dcolumns) / right(np.ones_like(dcolumns))

    return columns, backward


# ------------------------------------------------------------------------ convolution


@wrong(functional.conv2d, IMAGES, KERNEL)
def convolution_that_drops_a_tap(x, weight):
    """A loop over the kernel that ends one too early: its last tap never learns."""
    y, right = functional.conv2d(x, weight)

    def backward(dy):
        dx, dweight = right(dy)
        dweight[-1, -1] = 0
        return dx, dweight

    return y, backward


@wrong(functional.conv2d, IMAGES, KERNEL)
def convolution_with_height_and_width_swapped(x, weight):
    """The kernel's gradient comes out mirrored at its diagonal: the shapes cannot tell."""
    y, right = functional.conv2d(x, weight)

    def backward(dy):
        dx, dweight = right(dy)
        return dx, dweight.transpose(1, 0, 2, 3)

    return y, backward


@wrong(functional.conv2d, IMAGES, KERNEL)
def convolution_whose_kernel_is_not_turned_around(x, weight):
    """The gradient of the image is a convolution with the kernel as it is, not upside down."""
    y, right = functional.conv2d(x, weight)

    def backward(dy):
        _, dweight = right(dy)
        dx, _ = functional.conv2d(dy, weight.transpose(0, 1, 3, 2), padding=2)
        return dx, dweight

    return y, backward


@wrong(conv2d_with_stride, IMAGES, KERNEL)
def convolution_that_forgets_the_stride(x, weight):
    """The patches' gradients are put back one pixel apart, though they were taken two apart."""
    y, right = conv2d_with_stride(x, weight)

    def backward(dy):
        _, dweight = right(dy)
        dx = np.zeros_like(x)
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                patches = np.einsum("nf,abcf->nabc", dy[:, i, j], weight)
                dx[:, i : i + 3, j : j + 3] += patches
        return dx, dweight

    return y, backward


@wrong(conv2d_with_padding, IMAGES, KERNEL)
def convolution_that_cuts_the_padding_off_at_one_side(x, weight):
    """The border is taken off the gradient at the bottom and the right only."""
    y, right = conv2d_with_padding(x, weight)

    def backward(dy):
        _, dweight = right(dy)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        dpadded, _ = functional.conv2d(padded, weight)[1](dy)
        return dpadded[:, :-2, :-2], dweight

    return y, backward


@wrong(functional.conv2d, IMAGES, KERNEL)
def convolution_that_ignores_the_upstream(x, weight):
    """The gradient of the sum of the result, whatever comes from above."""
    y, right = functional.conv2d(x, weight)

    def backward(dy):
        return right(np.ones_like(dy))

    return y, backward


@wrong(functional.conv2d, IMAGES, KERNEL)
def convolution_that_learns_from_the_first_image_only(x, weight):
    """The sum over the batch was forgotten in the kernel's gradient."""
    y, right = functional.conv2d(x, weight)

    def backward(dy):
        dx, _ = right(dy)
        _, dweight = functional.conv2d(x[:1], weight)[1](dy[:1])
        return dx, dweight

    return y, backward


@wrong(functional.conv2d, IMAGES, KERNEL, BIAS)
def convolution_with_the_bias_gradient_averaged(x, weight, bias):
    """The bias was added to every pixel: its gradient is the sum over them, not the mean."""
    y, right = functional.conv2d(x, weight, bias)

    def backward(dy):
        dx, dweight, _ = right(dy)
        return dx, dweight, dy.mean(axis=(0, 1, 2))

    return y, backward


@wrong(functional.conv2d, IMAGES, KERNEL, BIAS)
def convolution_with_a_bias_gradient_of_another_shape(x, weight, bias):
    """`keepdims=True`: the numbers are right, and the optimizer broadcasts them somewhere."""
    y, right = functional.conv2d(x, weight, bias)

    def backward(dy):
        dx, dweight, _ = right(dy)
        return dx, dweight, dy.sum(axis=(0, 1, 2), keepdims=True)

    return y, backward


@wrong(functional.conv2d, IMAGES, KERNEL)
def convolution_that_is_a_thousandth_off(x, weight):
    """Almost right: a constant factor of 1.001 on one of the gradients."""
    y, right = functional.conv2d(x, weight)

    def backward(dy):
        dx, dweight = right(dy)
        return dx, 1.001 * dweight

    return y, backward


@wrong(functional.conv2d, IMAGES, KERNEL)
def convolution_that_forgets_the_last_row(x, weight):
    """A band of rows that ends one too early: the lowest row of the image gets no gradient."""
    y, right = functional.conv2d(x, weight)

    def backward(dy):
        dx, dweight = right(dy)
        dx[:, -1] = 0
        return dx, dweight

    return y, backward


@wrong(functional.conv2d, IMAGES, KERNEL)
def convolution_whose_gradient_has_another_dtype(x, weight):
    """A float32 buffer in the middle of float64 arithmetic."""
    y, right = functional.conv2d(x, weight)

    def backward(dy):
        dx, dweight = right(dy)
        return dx.astype("float32"), dweight

    return y, backward


# -------------------------------------------------------------- transposed convolution


@wrong(functional.conv_transpose2d, SMALL_IMAGES, UP_KERNEL)
def transposed_convolution_that_takes_its_gradient_for_its_input(x, weight):
    """In the kernel's gradient stands dx where x belongs: the same shape, another array."""
    y, right = functional.conv_transpose2d(x, weight)

    def backward(dy):
        dx, _ = right(dy)
        _, dweight = functional.conv_transpose2d(dx, weight)[1](dy)
        return dx, dweight

    return y, backward


@wrong(functional.conv_transpose2d, SMALL_IMAGES, UP_KERNEL, UP_BIAS)
def transposed_convolution_whose_gradient_is_never_stored(x, weight, bias):
    """The up-convolution stays at its first random weights for ever; the rest learns around it."""
    y, right = functional.conv_transpose2d(x, weight, bias)

    def backward(dy):
        dx, _, _ = right(dy)
        return dx, np.zeros_like(weight), np.zeros_like(bias)

    return y, backward


@wrong(functional.conv_transpose2d, SMALL_IMAGES, UP_KERNEL)
def transposed_convolution_that_turns_the_kernel_around(x, weight):
    """Here the kernel must stay as it is, and somebody turned it out of habit."""
    y, right = functional.conv_transpose2d(x, weight)

    def backward(dy):
        _, dweight = right(dy)
        dx, _ = functional.conv2d(dy, weight[::-1, ::-1], stride=2)
        return dx, dweight

    return y, backward


# ---------------------------------------------------------------- pooling, upsampling


@wrong(functional.max_pool2d, POOLED_IMAGES)
def max_pool_that_gives_to_the_whole_window(x):
    """Every member of the window gets the winner's gradient."""
    y, _ = functional.max_pool2d(x)

    def backward(dy):
        return dy.repeat(2, axis=1).repeat(2, axis=2)

    return y, backward


@wrong(functional.max_pool2d, POOLED_IMAGES)
def max_pool_that_shares_among_the_window(x):
    """The gradient of mean pooling."""
    y, _ = functional.max_pool2d(x)

    def backward(dy):
        return dy.repeat(2, axis=1).repeat(2, axis=2) / 4

    return y, backward


@wrong(functional.max_pool2d, POOLED_IMAGES)
def max_pool_that_swaps_row_and_column_of_the_winner(x):
    """The winner's number is read as column * size + row."""
    y, right = functional.max_pool2d(x)

    def backward(dy):
        batch, height, width, channels = x.shape
        windows = right(dy).reshape(batch, height // 2, 2, width // 2, 2, channels)
        return windows.transpose(0, 1, 4, 3, 2, 5).reshape(x.shape)

    return y, backward


@wrong(functional.upsample_nearest2d, IMAGES)
def upsampling_that_takes_the_mean(x):
    """A pixel that was repeated four times gets the mean of four gradients, not their sum."""
    y, right = functional.upsample_nearest2d(x)

    def backward(dy):
        return right(dy) / 4

    return y, backward


@wrong(functional.upsample_nearest2d, IMAGES)
def upsampling_that_looks_at_one_pixel_of_the_square(x):
    """Backward takes every second pixel, as if it had to undo the forward."""
    y, _ = functional.upsample_nearest2d(x)

    def backward(dy):
        return dy[:, ::2, ::2]

    return y, backward


# ---------------------------------------------------------------------------- joining


@wrong(functional.concat, IMAGES, IMAGES[::-1])
def concat_that_swaps_the_two(skip, x):
    """The skip gets the gradient of the other half; with equal channels nothing complains."""
    y, right = functional.concat(skip, x)

    def backward(dy):
        dskip, dx = right(dy)
        return dx, dskip

    return y, backward


@wrong(functional.concat, IMAGES, SMALL_IMAGES)
def concat_that_loses_the_gradient_of_the_skip(skip, x):
    """The encoder hears only through the bottleneck: the network trains, just worse."""
    y, right = functional.concat(skip, x)

    def backward(dy):
        _, dx = right(dy)
        return np.zeros_like(skip), dx

    return y, backward


@wrong(partial(functional.crop, height=3, width=4), IMAGES)
def crop_that_is_one_pixel_off(x):
    """The gradient is put back into the corner, the pixels were cut from the center."""
    y, _ = functional.crop(x, 3, 4)

    def backward(dy):
        dx = np.zeros_like(x)
        dx[:, :3, :4] = dy
        return dx

    return y, backward


def fork(x):
    """Let an image go two ways, as in the U, and join them again."""
    upper, backward_of_relu = functional.relu(x)
    y, backward_of_concat = functional.concat(x, upper)

    def backward(dy):
        dskip, dupper = backward_of_concat(dy)
        return dskip + backward_of_relu(dupper)

    return y, backward


@wrong(fork, away_from_zero(13, (2, 3, 4, 2)))
def fork_that_keeps_only_the_last_branch(x):
    """Where an image goes two ways the gradients add; here the second overwrites the first."""
    upper, backward_of_relu = functional.relu(x)
    y, backward_of_concat = functional.concat(x, upper)

    def backward(dy):
        dx, dupper = backward_of_concat(dy)
        dx = backward_of_relu(dupper)
        return dx

    return y, backward


# -------------------------------------------------------------------- relu and dropout


@wrong(functional.relu, away_from_zero(14, (2, 3, 4, 2)))
def relu_that_asks_the_gradient_for_its_sign(x):
    """The mask is made of dy, not of x."""
    y, _ = functional.relu(x)

    def backward(dy):
        return dy * (dy > 0)

    return y, backward


@wrong(functional.relu, away_from_zero(15, (2, 3, 4, 2)))
def relu_that_lets_everything_through(x):
    """Backward without the kink."""
    y, _ = functional.relu(x)

    def backward(dy):
        return dy.copy()

    return y, backward


@wrong(functional.relu, away_from_zero(16, (2, 3, 4, 2)))
def relu_that_writes_into_the_upstream(x):
    """The gradient is right, but whoever else holds dy finds it changed."""
    y, _ = functional.relu(x)

    def backward(dy):
        dy *= x > 0
        return dy

    return y, backward


def dropout(x):
    """Drop the same half at each call."""
    return functional.dropout(x, 0.5, np.random.default_rng(0))


@wrong(dropout, away_from_zero(17, (2, 3, 4, 2)))
def dropout_without_the_scale(x):
    """Forward divides by 1 - rate, backward does not."""
    y, _ = dropout(x)

    def backward(dy):
        return dy * (y != 0)

    return y, backward


@wrong(dropout, away_from_zero(18, (2, 3, 4, 2)))
def dropout_that_draws_a_new_mask(x):
    """Backward drops other entries than forward did."""
    rng = np.random.default_rng(0)
    y, _ = functional.dropout(x, 0.5, rng)

    def backward(dy):
        dx, _ = functional.dropout(dy, 0.5, rng)
        return dx

    return y, backward


# ------------------------------------------------------------------ batch normalization


def normalized(x):
    """Give the input of mean 0 and variance 1, and what it was divided by."""
    deviation = np.sqrt(x.var(axis=(0, 1, 2)) + 1e-5)
    return (x - x.mean(axis=(0, 1, 2))) / deviation, deviation


@wrong(functional.batch_norm2d, IMAGES, GAMMA, BETA)
def batch_norm_without_the_mean_term(x, gamma, beta):
    """Each pixel also moves the mean: that way of its influence is left out."""
    y, right = functional.batch_norm2d(x, gamma, beta)

    def backward(dy):
        _, dgamma, dbeta = right(dy)
        x_hat, deviation = normalized(x)
        dx_hat = dy * gamma
        return (dx_hat - x_hat * (dx_hat * x_hat).mean(axis=(0, 1, 2))) / deviation, dgamma, dbeta

    return y, backward


@wrong(functional.batch_norm2d, IMAGES, GAMMA, BETA)
def batch_norm_without_the_variance_term(x, gamma, beta):
    """Each pixel also moves the variance: that way of its influence is left out."""
    y, right = functional.batch_norm2d(x, gamma, beta)

    def backward(dy):
        _, dgamma, dbeta = right(dy)
        _, deviation = normalized(x)
        dx_hat = dy * gamma
        return (dx_hat - dx_hat.mean(axis=(0, 1, 2))) / deviation, dgamma, dbeta

    return y, backward


@wrong(functional.batch_norm2d, IMAGES, GAMMA, BETA)
def batch_norm_that_takes_its_statistics_for_constants(x, gamma, beta):
    """The backward of inference, used in training."""
    y, right = functional.batch_norm2d(x, gamma, beta)

    def backward(dy):
        _, dgamma, dbeta = right(dy)
        return dy * gamma / normalized(x)[1], dgamma, dbeta

    return y, backward


@wrong(functional.batch_norm2d, IMAGES, GAMMA, BETA)
def batch_norm_whose_scale_learns_from_the_raw_input(x, gamma, beta):
    """In the gradient of gamma stands x where the normalized x belongs."""
    y, right = functional.batch_norm2d(x, gamma, beta)

    def backward(dy):
        dx, _, dbeta = right(dy)
        return dx, (dy * x).sum(axis=(0, 1, 2)), dbeta

    return y, backward


@wrong(functional.batch_norm2d, IMAGES, GAMMA, BETA)
def batch_norm_with_scale_and_shift_exchanged(x, gamma, beta):
    """Two gradients of the same shape, returned in the wrong order."""
    y, right = functional.batch_norm2d(x, gamma, beta)

    def backward(dy):
        dx, dgamma, dbeta = right(dy)
        return dx, dbeta, dgamma

    return y, backward


# ----------------------------------------------------------------- softmax and the losses


@wrong(functional.softmax, LOGITS)
def softmax_whose_backward_is_zero(logits):
    """A check whose upstream is all ones passes it: the probabilities' sum is always 1."""
    probabilities, _ = functional.softmax(logits)

    def backward(dprobabilities):
        return np.zeros_like(logits)

    return probabilities, backward


@wrong(functional.softmax, LOGITS)
def softmax_without_the_sum_term(logits):
    """Only what a logit does to its own probability: p (1 - p), nothing off the diagonal."""
    probabilities, _ = functional.softmax(logits)

    def backward(dprobabilities):
        return dprobabilities * probabilities * (1 - probabilities)

    return probabilities, backward


@wrong(weighted_cross_entropy, LOGITS, LABELS)
def cross_entropy_not_divided_by_the_sum_of_weights(logits, labels):
    """The loss is a mean, its gradient is one of the sum."""
    loss, right = weighted_cross_entropy(logits, labels)

    def backward(dloss=1.0):
        return right(dloss) * CLASS_WEIGHTS[labels].sum()

    return loss, backward


@wrong(weighted_cross_entropy, LOGITS, LABELS)
def cross_entropy_divided_by_the_number_of_pixels(logits, labels):
    """The same where the weights add up to the number of pixels, wrong elsewhere."""
    loss, right = weighted_cross_entropy(logits, labels)

    def backward(dloss=1.0):
        return right(dloss) * CLASS_WEIGHTS[labels].sum() / labels.size

    return loss, backward


@wrong(weighted_cross_entropy, LOGITS, LABELS)
def cross_entropy_that_forgets_the_class_weights(logits, labels):
    """The loss counts rare classes more, the gradient does not."""
    loss, _ = weighted_cross_entropy(logits, labels)
    _, unweighted = functional.softmax_cross_entropy(logits, labels)
    return loss, unweighted


@wrong(cross_entropy_with_holes, LOGITS, HOLEY_LABELS)
def cross_entropy_that_learns_from_ignored_pixels(logits, labels):
    """An ignored pixel is in no class, so its probabilities are pushed down, every one."""
    loss, right = cross_entropy_with_holes(logits, labels)

    def backward(dloss=1.0):
        dlogits = right(dloss)
        probabilities, _ = functional.softmax(logits)
        ignored = labels == 255
        dlogits[ignored] = dloss * probabilities[ignored] / labels.size
        return dlogits

    return loss, backward


@wrong(functional.softmax_cross_entropy, LOGITS, LABELS)
def cross_entropy_that_ignores_the_upstream(logits, labels):
    """Right as long as the loss is the last step, wrong in a sum of two losses."""
    loss, right = functional.softmax_cross_entropy(logits, labels)

    def backward(dloss=1.0):
        return right(1.0)

    return loss, backward


def dice_gradient(logits, labels, *, with_denominator, classes_averaged=True):
    """Write the gradient of the soft Dice loss out, with its parts to choose from."""
    probabilities, backward_of_softmax = functional.softmax(logits)
    truth = np.eye(3)[labels]
    overlap = (probabilities * truth).sum(axis=(0, 1, 2))
    sizes = (probabilities + truth).sum(axis=(0, 1, 2)) + 1
    dscores = 2 * truth / sizes
    if with_denominator:
        dscores = dscores - (2 * overlap + 1) / sizes**2
    return backward_of_softmax(-dscores / (3 if classes_averaged else 1))


@wrong(functional.dice_loss, LOGITS, LABELS)
def dice_whose_denominator_counts_as_constant(logits, labels):
    """The quotient rule without its second half."""
    loss, _ = functional.dice_loss(logits, labels)

    def backward(dloss=1.0):
        return dloss * dice_gradient(logits, labels, with_denominator=False)

    return loss, backward


@wrong(functional.dice_loss, LOGITS, LABELS)
def dice_that_adds_the_classes_up(logits, labels):
    """The loss is the mean over the classes, its gradient is one of the sum."""
    loss, _ = functional.dice_loss(logits, labels)

    def backward(dloss=1.0):
        gradient = dice_gradient(logits, labels, with_denominator=True, classes_averaged=False)
        return dloss * gradient

    return loss, backward


@wrong(functional.dice_loss, LOGITS, LABELS)
def dice_that_stops_at_the_probabilities(logits, labels):
    """The gradient of the probabilities is handed on as that of the logits."""
    loss, _ = functional.dice_loss(logits, labels)

    def backward(dloss=1.0):
        probabilities, _ = functional.softmax(logits)
        truth = np.eye(3)[labels]
        overlap = (probabilities * truth).sum(axis=(0, 1, 2))
        sizes = (probabilities + truth).sum(axis=(0, 1, 2)) + 1
        return -dloss / 3 * (2 * truth / sizes - (2 * overlap + 1) / sizes**2)

    return loss, backward


# ------------------------------------------------------------------------------- ties
# Where two pixels of a window are equal there is no derivative, so no difference quotient can say
# who should get the gradient. It is a matter of agreement: the first in reading order, alone. These
# two break the agreement, and what judges them is a test of ties, not the checker.


def max_pool_that_gives_to_all_who_tie(x):
    """Whoever equals the maximum gets the whole gradient: black areas count four times."""
    y, _ = functional.max_pool2d(x)

    def backward(dy):
        winners = x == y.repeat(2, axis=1).repeat(2, axis=2)
        return dy.repeat(2, axis=1).repeat(2, axis=2) * winners

    return y, backward


def max_pool_that_gives_to_the_last_who_ties(x):
    """`>=` in place of `>` in the search for the winner."""
    turned = np.ascontiguousarray(x[:, ::-1, ::-1])
    y, right = functional.max_pool2d(turned)

    def backward(dy):
        return right(dy[:, ::-1, ::-1])[:, ::-1, ::-1]

    return y[:, ::-1, ::-1], backward


BREAKERS_OF_TIES = [max_pool_that_gives_to_all_who_tie, max_pool_that_gives_to_the_last_who_ties]
