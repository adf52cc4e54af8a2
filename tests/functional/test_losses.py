"""Softmax, cross-entropy and soft Dice."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import definitions
from tests.comparing import SMOOTH, assert_close, assert_equals_definition, assert_has_manners
from tests.strategies import image_shapes, random_array, seeds, segmentations
from tinyunet.backend import to_host
from tinyunet.nn.gradcheck import check_gradients
from tinyunet.nn.operations import operations


@given(image_shapes(largest=5), seeds)
def test_softmax_equals_its_definition(xp, shape, seed):
    assert_equals_definition(operations.softmax, definitions.softmax, 3 * random_array(seed, shape))


@given(image_shapes(largest=5), seeds)
def test_gradients_of_softmax(shape, seed):
    check_gradients(operations.softmax, random_array(seed, shape), tolerance=SMOOTH)


@given(image_shapes(largest=5), seeds)
def test_softmax_has_manners(xp, shape, seed):
    assert_has_manners(operations.softmax, random_array(seed, shape))


def test_probabilities_add_up_to_1_however_large_the_logits_are(xp):
    logits = xp.asarray(random_array(0, (2, 3, 4, 5), "float32"))
    for shift in (0, 1e4, -1e4):
        probabilities, _ = operations.softmax(100 * logits + shift)
        assert bool(xp.isfinite(probabilities).all())
        assert_close(probabilities.sum(axis=-1), np.ones((2, 3, 4)), 1e-6)


def test_one_number_added_to_all_logits_of_a_pixel_changes_nothing(xp):
    logits = random_array(0, (2, 3, 4, 5))
    probabilities, _ = operations.softmax(xp.asarray(logits))
    shifted, _ = operations.softmax(xp.asarray(logits + random_array(1, (2, 3, 4, 1))))
    assert_close(shifted, to_host(probabilities), 1e-14)


@given(segmentations(pixel_weights=True))
def test_softmax_cross_entropy_equals_its_definition(xp, case):
    logits, labels, options = case
    assert_equals_definition(
        operations.softmax_cross_entropy,
        definitions.softmax_cross_entropy,
        logits,
        labels,
        **options,
    )


@given(segmentations(pixel_weights=True))
@settings(max_examples=50)
def test_gradients_of_softmax_cross_entropy(case):
    logits, labels, options = case
    check_gradients(
        partial(operations.softmax_cross_entropy, **options), logits, labels, tolerance=SMOOTH
    )


@given(segmentations(pixel_weights=True))
def test_softmax_cross_entropy_has_manners(xp, case):
    logits, labels, options = case
    assert_has_manners(operations.softmax_cross_entropy, logits, labels, **options)


@given(segmentations())
def test_dice_loss_equals_its_definition(xp, case):
    logits, labels, options = case
    assert_equals_definition(operations.dice_loss, definitions.dice_loss, logits, labels, **options)


@given(segmentations(), st.sampled_from([0.1, 1.0, 5.0]))
@settings(max_examples=50)
def test_gradients_of_dice_loss(case, smooth):
    logits, labels, options = case
    # Along some random directions the loss changes by 1e-5 only: rounding is more than 1e-7 of it.
    loss = partial(operations.dice_loss, smooth=smooth, **options)
    check_gradients(loss, logits, labels, tolerance=10 * SMOOTH)


@given(segmentations())
def test_dice_loss_has_manners(xp, case):
    logits, labels, options = case
    assert_has_manners(operations.dice_loss, logits, labels, **options)


@pytest.fixture(params=["softmax_cross_entropy", "dice_loss"])
def loss(request):
    """Run the test with each of the two losses."""
    return getattr(operations, request.param)


def test_backward_starts_from_1_if_nothing_is_said(xp, loss):
    logits = xp.asarray(random_array(0, (2, 3, 4, 3), "float32"))
    labels = xp.asarray(np.random.default_rng(1).integers(0, 3, (2, 3, 4)))
    value, backward = loss(logits, labels)
    assert value.shape == () and value.dtype == logits.dtype
    assert bool((backward() == backward(1.0)).all())
    assert backward().dtype == logits.dtype
    assert_close(backward(2.0), 2 * to_host(backward()), 1e-7)


def test_ignored_pixels_neither_count_nor_get_a_gradient(xp, loss):
    logits = random_array(0, (2, 3, 4, 3))
    labels = np.random.default_rng(1).integers(0, 3, (2, 3, 4))
    labels[:, :, 2:] = 255
    value, backward = loss(xp.asarray(logits), xp.asarray(labels), ignore_index=255)
    left_out, _ = loss(xp.asarray(logits[:, :, :2]), xp.asarray(labels[:, :, :2]))
    assert_close(value, left_out.item(), 1e-13)
    assert bool((backward()[:, :, 2:] == 0).all())


@pytest.mark.parametrize("ignore_index", [0, 2, 255, -100])
def test_if_all_pixels_are_ignored_the_gradient_is_0_and_nothing_is_nan(xp, loss, ignore_index):
    logits = xp.asarray(random_array(0, (1, 3, 4, 3), "float32"))
    labels = xp.full((1, 3, 4), ignore_index, dtype="int64")
    value, backward = loss(logits, labels, ignore_index=ignore_index)
    assert math.isfinite(float(value))
    assert bool((backward() == 0).all())


def test_if_all_pixels_are_ignored_the_cross_entropy_is_0(xp):
    labels = xp.full((1, 3, 4), 9, dtype="uint8")
    value, _ = operations.softmax_cross_entropy(xp.ones((1, 3, 4, 3)), labels, ignore_index=9)
    assert float(value) == 0


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_who_knows_nothing_pays_the_logarithm_of_the_classes(xp, classes):
    labels = xp.asarray(np.random.default_rng(0).integers(0, classes, (2, 3, 4)))
    value, _ = operations.softmax_cross_entropy(xp.zeros((2, 3, 4, classes)), labels)
    assert_close(value, math.log(classes), 1e-14)


def test_who_is_sure_and_right_pays_nothing_and_who_is_sure_and_wrong_much(xp):
    labels = xp.asarray([[[0, 1]]])
    sure = xp.asarray([[[[1000.0, 0.0], [0.0, 1000.0]]]], dtype="float32")
    right, backward = operations.softmax_cross_entropy(sure, labels)
    wrong, backward_of_wrong = operations.softmax_cross_entropy(sure, 1 - labels)
    assert float(right) == 0 and float(wrong) == 1000
    assert bool((backward() == 0).all())
    assert backward_of_wrong()[0, 0].tolist() == [[0.5, -0.5], [-0.5, 0.5]]


def test_a_weight_of_2_counts_as_the_same_pixel_twice(xp):
    logits = random_array(0, (1, 1, 3, 4))
    labels, weights = np.array([[[2, 0, 3]]]), np.array([[[1.0, 2.0, 1.0]]])
    weighted, _ = operations.softmax_cross_entropy(
        xp.asarray(logits), xp.asarray(labels), pixel_weights=xp.asarray(weights)
    )
    twice, _ = operations.softmax_cross_entropy(
        xp.asarray(logits[:, :, [0, 1, 1, 2]]), xp.asarray(labels[:, :, [0, 1, 1, 2]])
    )
    assert_close(weighted, twice.item(), 1e-14)


def test_the_scale_of_the_weights_does_not_matter(xp):
    logits = xp.asarray(random_array(0, (2, 3, 4, 3)))
    labels = xp.asarray(np.random.default_rng(1).integers(0, 3, (2, 3, 4)))
    weights = np.array([0.2, 1.0, 3.0])
    value, _ = operations.softmax_cross_entropy(logits, labels, class_weights=xp.asarray(weights))
    scaled, _ = operations.softmax_cross_entropy(
        logits, labels, class_weights=xp.asarray(7 * weights)
    )
    assert_close(scaled, value.item(), 1e-14)


def test_the_gradient_of_a_pixel_is_its_probabilities_minus_the_truth(xp):
    logits = xp.asarray(random_array(0, (1, 1, 1, 4)))
    probabilities, _ = operations.softmax(logits)
    _, backward = operations.softmax_cross_entropy(logits, xp.asarray([[[2]]]))
    truth = np.array([0, 0, 1, 0])
    assert_close(backward(), to_host(probabilities) - truth, 1e-14)


def test_dice_of_a_perfect_answer_is_0_and_of_the_opposite_nearly_1(xp):
    labels = np.random.default_rng(0).integers(0, 2, (2, 20, 30))
    logits = 1000 * np.eye(2)[labels]
    right, _ = operations.dice_loss(xp.asarray(logits), xp.asarray(labels))
    wrong, _ = operations.dice_loss(xp.asarray(logits), xp.asarray(1 - labels))
    assert_close(right, 0.0, 1e-12)
    assert 0.99 < float(wrong) < 1


def test_an_absent_class_that_nobody_predicts_costs_nothing(xp):
    labels = xp.asarray(np.random.default_rng(0).integers(0, 2, (2, 5, 6)))
    logits = np.full((2, 5, 6, 3), -1000.0)
    logits[..., :2] = 1000 * np.eye(2)[to_host(labels)]
    value, _ = operations.dice_loss(xp.asarray(logits), labels)
    assert_close(value, 0.0, 1e-12)


@pytest.mark.parametrize("label_type", ["uint8", "uint16", "int16", "int32", "int64"])
def test_labels_of_any_integer_type_do(xp, loss, label_type):
    logits = xp.asarray(random_array(0, (2, 3, 4, 3)))
    labels = np.random.default_rng(1).integers(0, 3, (2, 3, 4))
    expected, _ = loss(logits, xp.asarray(labels))
    value, _ = loss(logits, xp.asarray(labels.astype(label_type)))
    assert float(value) == float(expected)


@pytest.mark.parametrize(("label_type", "ignore_index"), [("uint8", -1), ("int8", 255)])
def test_an_ignored_value_that_the_labels_cannot_have_ignores_nothing(
    xp, loss, label_type, ignore_index
):
    logits = xp.asarray(random_array(0, (2, 3, 4, 3)))
    labels = xp.asarray(np.random.default_rng(1).integers(0, 3, (2, 3, 4)).astype(label_type))
    value, _ = loss(logits, labels, ignore_index=ignore_index)
    assert float(value) == float(loss(logits, labels)[0])


def test_class_weights_of_another_number_are_refused(loss):
    logits, labels = np.zeros((1, 3, 4, 3)), np.zeros((1, 3, 4), dtype="int64")
    for entries in (1, 2, 4):
        with pytest.raises(ValueError):
            loss(logits, labels, class_weights=np.ones(entries))


@pytest.mark.parametrize("wrong", [3, 255, -1])
def test_a_label_that_is_no_class_is_refused(loss, wrong):
    labels = np.zeros((1, 3, 4), dtype="int64")
    labels[0, 1, 2] = wrong
    with pytest.raises(ValueError):
        loss(np.zeros((1, 3, 4, 3)), labels)


def test_labels_of_another_size_are_refused(loss):
    with pytest.raises(ValueError):
        loss(np.zeros((1, 3, 4, 3)), np.zeros((1, 4, 3), dtype="int64"))
