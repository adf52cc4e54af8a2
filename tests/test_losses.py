"""The losses with their settings, and how much a part of a batch counts."""

import numpy as np
import pytest
from hypothesis import given

from tests.comparing import assert_close
from tests.strategies import random_array, segmentations
from tinyunet.backend import to_host
from tinyunet.nn.gradcheck import check_gradients
from tinyunet.nn.losses import LOSSES, CrossEntropy, CrossEntropyAndDice, Dice
from tinyunet.nn.operations import operations


@given(segmentations())
def test_the_losses_are_the_operations_with_settings(xp, case):
    logits, labels, options = case
    for loss, operation in (
        (CrossEntropy, operations.softmax_cross_entropy),
        (Dice, operations.dice_loss),
    ):
        value, backward = loss(**options)(xp.asarray(logits), labels)
        weights = options.get("class_weights")
        on_device = {**options}
        if weights is not None:
            on_device["class_weights"] = xp.asarray(weights)
        expected, expected_backward = operation(xp.asarray(logits), labels, **on_device)
        assert float(value) == float(expected)
        assert bool((backward() == expected_backward()).all())


@given(segmentations())
def test_a_batch_is_the_weighted_mean_of_its_parts(case):
    logits, labels, options = case
    loss = CrossEntropy(**options)
    whole, backward = loss(logits, labels)
    parts = [slice(n, n + 1) for n in range(len(labels))]
    weights = np.array([loss.weight(labels[part]) for part in parts])
    values, gradients = [], []
    for part, weight in zip(parts, weights, strict=True):
        value, backward_of_part = loss(logits[part], labels[part])
        values.append(value)
        gradients.append(backward_of_part(weight / weights.sum()))
    assert_close(np.dot(values, weights) / weights.sum(), whole, 1e-12)
    assert_close(np.concatenate(gradients), backward(), 1e-12)


def test_pixel_weights_count_in_the_weight_of_a_part():
    labels = np.array([[[0, 1, 255]]])
    pixel_weights = np.array([[[2.0, 3.0, 100.0]]])
    loss = CrossEntropy(class_weights=[1, 10], ignore_index=255)
    assert loss.weight(labels, pixel_weights) == 32
    assert loss.weight(labels) == 11


def test_pixel_weights_reach_the_operation(xp):
    logits = xp.asarray(np.random.default_rng(0).normal(size=(1, 2, 3, 2)))
    labels = np.array([[[0, 1, 1], [0, 0, 1]]])
    pixel_weights = np.array([[[0.0, 0, 0], [0, 5, 0]]])
    value, backward = CrossEntropy()(logits, labels, pixel_weights)
    only, _ = CrossEntropy()(logits[:, 1:, 1:2], labels[:, 1:, 1:2])
    assert_close(value, float(only), 1e-14)
    assert int((to_host(backward()) != 0).any(axis=-1).sum()) == 1


@pytest.mark.parametrize("label_type", ["uint8", "int32", "int64"])
def test_the_weight_of_labels_does_not_depend_on_their_type(label_type):
    labels = np.array([[[0, 1, 1], [2, 255, 2]]], dtype=label_type)
    assert CrossEntropy(ignore_index=255).weight(labels) == 5
    assert CrossEntropy([1.0, 0.5, 2.0], ignore_index=255).weight(labels) == 6


def test_a_part_of_the_dice_loss_counts_by_its_images():
    assert Dice().weight(np.zeros((3, 4, 5), dtype="int64")) == 3


@given(segmentations())
def test_the_sum_of_both_losses_adds_values_and_gradients(xp, case):
    logits, labels, options = case
    logits = xp.asarray(logits)
    value, backward = CrossEntropyAndDice(**options)(logits, labels)
    first, backward_of_first = CrossEntropy(**options)(logits, labels)
    second, backward_of_second = Dice(**options)(logits, labels)
    assert float(value) == float(first + second)
    assert bool((backward(0.5) == backward_of_first(0.5) + backward_of_second(0.5)).all())


def test_in_the_sum_pixel_weights_are_for_the_cross_entropy():
    logits = np.random.default_rng(0).normal(size=(1, 2, 3, 2))
    labels = np.array([[[0, 1, 1], [0, 0, 1]]])
    pixel_weights = np.array([[[0.0, 0, 0], [0, 5, 1]]])
    both, first = CrossEntropyAndDice(), CrossEntropy()
    value, _ = both(logits, labels, pixel_weights)
    expected = first(logits, labels, pixel_weights)[0] + Dice()(logits, labels)[0]
    assert_close(value, float(expected), 1e-14)
    assert both.weight(labels, pixel_weights) == first.weight(labels, pixel_weights) == 6


def test_the_sum_of_both_losses_has_the_right_gradient():
    labels = np.array([[[0, 1, 2], [255, 0, 2]]])
    loss = LOSSES["ce+dice"]([1.0, 2.0, 0.5], 255)
    check_gradients(lambda logits: loss(logits, labels), random_array(0, (1, 2, 3, 3)))


def test_a_loss_says_what_it_is():
    assert repr(CrossEntropy([1.0, 2.0], 255)) == (
        "CrossEntropy(class_weights=(1.0, 2.0), ignore_index=255)"
    )
