"""Layers: what they own, what they remember, and what they forget."""

import math
from functools import partial

import numpy as np
import pytest

from tests.comparing import SMOOTH, assert_close
from tests.networks import as_function, in_float64, values_of
from tests.strategies import all_different, away_from_zero, random_array
from tinyunet.backend import to_host
from tinyunet.distributed.replicas import Replicas
from tinyunet.nn.gradcheck import check_gradients
from tinyunet.nn.layers import (
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Layer,
    MaxPool2d,
    Parameter,
    ReLU,
    Sequential,
    UpsampleNearest2d,
)
from tinyunet.nn.operations import operations

LAYERS = {
    "Conv2d": partial(Conv2d, 2, 3, (3, 2), padding=1),
    "Conv2d with a stride": partial(Conv2d, 2, 3, 3, stride=2),
    "Conv2d without bias": partial(Conv2d, 2, 3, 3, padding="same", bias=False),
    "ConvTranspose2d": partial(ConvTranspose2d, 2, 3),
    "ConvTranspose2d with padding": partial(ConvTranspose2d, 2, 3, (4, 3), padding=(1, 0)),
    "ConvTranspose2d without bias": partial(ConvTranspose2d, 2, 3, bias=False),
    "MaxPool2d": MaxPool2d,
    "UpsampleNearest2d": partial(UpsampleNearest2d, 3),
    "ReLU": ReLU,
    "Dropout at rest": partial(Dropout, 0.0),
    "BatchNorm2d": partial(BatchNorm2d, 2),
    "Sequential": lambda: Sequential(Conv2d(2, 3, 3), BatchNorm2d(3), ConvTranspose2d(3, 2)),
}
EVERY_LAYER = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())


def images(xp, dtype="float64"):
    """Images without a kink or a tie nearby."""
    return xp.asarray(all_different(0, (2, 4, 6, 2), dtype) + 0.05)


@EVERY_LAYER
def test_gradients_of_a_layer_and_its_parameters(xp, make):
    layer = in_float64(make())
    check_gradients(as_function(layer), images(xp), *values_of(layer), tolerance=SMOOTH)


@EVERY_LAYER
def test_the_shape_that_a_layer_announces_is_the_one_it_gives(make):
    layer = make()
    x = images(np, "float32")
    assert layer(x).shape == layer_shape(layer, x.shape)


def layer_shape(layer, shape):
    """Work a shape out, through a sequence step by step."""
    for _, child in layer.children():
        shape = layer_shape(child, shape)
    return shape if layer.children() else layer.output_shape(shape)


@EVERY_LAYER
def test_a_layer_keeps_float32(xp, make):
    layer = make()
    y = layer(images(xp, "float32"))
    dx = layer.backward(xp.ones_like(y))
    arrays = [y, dx, *(parameter.grad for parameter in layer.parameters())]
    assert {str(array.dtype) for array in arrays} == {"float32"}


@EVERY_LAYER
def test_backward_needs_a_forward_before_it_each_time(make):
    layer = make()
    with pytest.raises(RuntimeError):
        layer.backward(np.ones((2, 4, 6, 2)))
    y = layer(images(np, "float32"))
    layer.backward(np.ones_like(y))
    with pytest.raises(RuntimeError):
        layer.backward(np.ones_like(y))


@EVERY_LAYER
def test_in_use_a_layer_remembers_nothing(make):
    layer = make().eval()
    y = layer(images(np, "float32"))
    assert all(inside._backward is None for inside in layer.modules())
    with pytest.raises(RuntimeError):
        layer.backward(np.ones_like(y))


@EVERY_LAYER
def test_switching_to_use_forgets_what_training_remembered(make):
    layer = make()
    layer(images(np, "float32"))
    layer.eval()
    assert all(inside._backward is None for inside in layer.modules())


@EVERY_LAYER
def test_in_use_gradients_can_be_asked_for(make):
    layer = in_float64(make()).eval(save_backward=True)
    check_gradients(as_function(layer), images(np), *values_of(layer), tolerance=SMOOTH)


@EVERY_LAYER
def test_gradients_add_up_until_they_are_zeroed(make):
    layer = in_float64(make())
    once = []
    for calls in (1, 2):
        y = layer(images(np))
        layer.backward(random_array(1, y.shape))
        if calls == 1:
            once = [parameter.grad.copy() for parameter in layer.parameters()]
    for parameter, gradient in zip(layer.parameters(), once, strict=True):
        assert_close(parameter.grad, 2 * gradient, 1e-14)
    layer.zero_grad()
    assert all(parameter.grad is None for parameter in layer.parameters())


@EVERY_LAYER
def test_a_state_comes_back(xp, make):
    layer, other = make(), in_float64(make(), seed=1)
    state = layer.state_dict()
    assert all(isinstance(array, np.ndarray) for array in state.values())
    assert list(state) == [name for name, _ in layer.named_parameters()]
    kept = values_of(other)
    other.load_state_dict(state)
    x = images(xp, "float32")
    assert_close(other.eval()(x), to_host(layer.eval()(x)), 1e-6)
    assert all(a is b for a, b in zip(values_of(other), kept, strict=True)), "not in place"


def test_a_state_is_a_copy():
    layer = Conv2d(2, 3, 3)
    state = layer.state_dict()
    layer.weight.data += 1
    assert bool((state["weight"] != layer.weight.data).all())


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("bias"),
        lambda state: state.update(extra=np.zeros(3)),
        lambda state: state.update(bias=np.zeros(4)),
        lambda state: state.update(bias=np.zeros(1)),
        lambda state: state.update(weight=np.zeros((3, 2, 3, 2))),
    ],
    ids=["one less", "one more", "longer", "shorter", "turned"],
)
def test_the_state_of_another_network_is_refused_and_nothing_changes(change):
    layer = Conv2d(2, 3, 3)
    before = layer.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(ValueError):
        layer.load_state_dict(state)
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_layer_with_parameters_computes_its_operation(xp):
    x = images(xp, "float32")
    convolution = Conv2d(2, 3, (3, 2), stride=2, padding=(1, 0))
    weight, bias = convolution.weight.data, convolution.bias.data
    expected, _ = operations.conv2d(x, weight, bias, stride=2, padding=(1, 0))
    assert bool((convolution(x) == expected).all())
    transposed = ConvTranspose2d(2, 3, 3, stride=3, padding=1)
    weight, bias = transposed.weight.data, transposed.bias.data
    expected, _ = operations.conv_transpose2d(x, weight, bias, stride=3, padding=1)
    assert bool((transposed(x) == expected).all())


def test_parameters_come_in_the_order_of_definition():
    network = Sequential(first=Conv2d(1, 2, 3), norm=BatchNorm2d(2), last=Conv2d(2, 1, 1))
    names = [name for name, _ in network.named_parameters()]
    assert names == [
        "first.weight",
        "first.bias",
        "norm.gamma",
        "norm.beta",
        "norm.running_mean",
        "norm.running_variance",
        "last.weight",
        "last.bias",
    ]
    assert len(network.parameters()) == 6, "running averages are not trained"


def test_joining_is_a_layer_too(xp):
    skip, x = xp.asarray(random_array(0, (2, 6, 5, 2))), xp.asarray(random_array(1, (2, 4, 3, 3)))
    layer = Concat()
    y = layer(skip, x)
    assert y.shape == (2, 4, 3, 5) == layer.output_shape(skip.shape, x.shape)
    dskip, dx = layer.backward(y)
    assert bool((dx == x).all())
    assert bool((dskip[:, 1:5, 1:4] == skip[:, 1:5, 1:4]).all())
    assert bool((dskip[:, 0] == 0).all())


def test_running_averages_move_a_tenth_of_the_way_to_each_batch(xp):
    layer = BatchNorm2d(2)
    mean, variance = np.zeros(2), np.ones(2)
    for seed in range(3):
        x = 3 + 2 * random_array(seed, (2, 3, 4, 2))
        layer(xp.asarray(x.astype("float32")))
        mean += 0.1 * (x.mean(axis=(0, 1, 2)) - mean)
        variance += 0.1 * (x.var(axis=(0, 1, 2), ddof=1) - variance)
    assert_close(layer.running_mean.data, mean, 1e-6)
    assert_close(layer.running_variance.data, variance, 1e-6)


def test_in_use_batch_normalization_does_not_look_at_the_batch(xp):
    layer = BatchNorm2d(2)
    x = xp.asarray(random_array(0, (4, 3, 5, 2), "float32"))
    layer(x)
    layer.eval()
    together = layer(x)
    alone = xp.concatenate([layer(x[n : n + 1]) for n in range(4)])
    assert bool((together == alone).all())
    before = to_host(layer.running_mean.data).copy()
    layer(x + 5)
    np.testing.assert_array_equal(to_host(layer.running_mean.data), before)


def test_dropout_drops_in_training_only(xp):
    layer = Dropout(0.5)
    x = xp.asarray(away_from_zero(0, (2, 5, 6, 3), "float32"))
    assert 0.3 < float((layer(x) == 0).mean()) < 0.7
    assert bool((layer.eval()(x) == x).all())


def test_dropout_repeats_itself_from_the_same_seed():
    network = Sequential(Dropout(0.5), Dropout(0.5))
    x = np.ones((2, 5, 6, 3), dtype="float32")
    results = []
    for seed in (1, 1, 2, [1, 2]):
        network.set_seed(seed)
        results.append(network(x))
    np.testing.assert_array_equal(results[0], results[1])
    for other in results[2:]:
        assert not np.array_equal(results[0], other)


def test_two_dropout_layers_drop_different_entries():
    network = Sequential(Dropout(0.5), Dropout(0.5))
    network.set_seed(1)
    x = np.ones((2, 5, 6, 3), dtype="float32")
    first, second = (layer(x) for layer in network.layers)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("make", "fan_in"),
    [
        (partial(Conv2d, 40, 50, 3), 9 * 40),
        (partial(Conv2d, 40, 50, (1, 5)), 5 * 40),
        (partial(ConvTranspose2d, 60, 70, 2, stride=2), 60),
        (partial(ConvTranspose2d, 60, 70, 4, stride=2), 4 * 60),
        (partial(ConvTranspose2d, 60, 70, 3, stride=1), 9 * 60),
    ],
)
def test_initial_weights_are_he_normal(make, fan_in):
    layer = make(rng=np.random.default_rng(0))
    weight = to_host(layer.weight.data)
    assert abs(weight.mean()) < 0.02 * weight.std()
    assert math.isclose(weight.std(), math.sqrt(2 / fan_in), rel_tol=0.03)
    assert bool((layer.bias.data == 0).all())


@pytest.mark.parametrize("make", [partial(Conv2d, 32, 32, 3), partial(ConvTranspose2d, 32, 32)])
def test_he_weights_keep_the_size_of_what_flows_through(make):
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((1, 40, 50, 32)), 0).astype("float32")
    x /= np.sqrt((x**2).mean())
    for _ in range(3):
        x = np.maximum(make(rng=rng)(x)[:, :40, :50], 0)
    assert 0.5 < (x**2).mean() < 2


def test_a_replica_shares_values_but_not_gradients():
    network = Sequential(conv=Conv2d(2, 3, 3), norm=BatchNorm2d(3))
    replicas = Replicas(network, 2)
    replicas.run(lambda index: None, 1)
    twin = replicas.replicas[1]
    assert all(
        a.data is b.data for a, b in zip(network.parameters(), twin.parameters(), strict=True)
    )
    y = twin(images(np, "float32"))
    twin.backward(np.ones_like(y))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.grad is not None for parameter in twin.parameters())
    with pytest.raises(RuntimeError):
        network.backward(y)
    running = dict(network.named_parameters())["norm.running_mean"].data
    assert bool((running == 0).all()), "each has its own running averages"


def test_a_parameter_used_twice_gets_both_gradients():
    parameter = Parameter(np.zeros(2))
    first = np.array([1.0, 2.0])
    parameter.add_gradient(first)
    parameter.add_gradient(np.array([10.0, 20.0]))
    assert parameter.grad.tolist() == [11, 22]
    assert first.tolist() == [1, 2], "what was given is not written to"


@EVERY_LAYER
def test_the_gradient_of_the_input_can_be_left_out(make):
    layer = in_float64(make())
    y = layer(images(np))
    dy = random_array(1, y.shape)
    layer.backward(dy)
    expected = [parameter.grad for parameter in layer.parameters()]
    layer.zero_grad()
    layer(images(np))
    assert layer.backward(dy, input_gradient=False) is None
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)


@pytest.mark.parametrize(
    "make",
    [partial(Conv2d, 4, 4, 3), partial(ConvTranspose2d, 4, 4)],
    ids=["Conv2d", "ConvTranspose2d"],
)
def test_two_fresh_layers_start_from_different_weights(make):
    assert not np.array_equal(make().weight.data, make().weight.data)
    first, again = (make(rng=np.random.default_rng(3)).weight.data for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_two_fresh_dropout_layers_drop_different_entries():
    x = np.ones((2, 5, 6, 3))
    assert not np.array_equal(Dropout(0.5)(x), Dropout(0.5)(x))


class Holder(Layer):
    """Holds whatever it is given."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


def test_layers_are_found_in_lists_tuples_and_dicts():
    convolutions = [Conv2d(1, 1, 1, bias=False) for _ in range(6)]
    a, b, c, d, e, f = convolutions
    holder = Holder(alone=a, listed=[b, None], pair=(c, 7), named={"x": d, "y": [e]}, last=f)
    assert [name for name, _ in holder.named_parameters()] == [
        "alone.weight",
        "listed.0.weight",
        "pair.0.weight",
        "named.x.weight",
        "named.y.0.weight",
        "last.weight",
    ]
    assert holder.modules() == [holder, *convolutions]
    assert all(not layer.training for layer in holder.eval().modules())


def test_parameters_are_found_in_lists_and_dicts_too():
    first, second = Parameter(np.zeros(2)), Parameter(np.zeros(3))
    holder = Holder(scales=[first], shifts={"up": second})
    assert dict(holder.named_parameters()) == {"scales.0": first, "shifts.up": second}


def test_a_parameter_that_two_layers_share_is_listed_once():
    shared = Conv2d(1, 1, 1, bias=False)
    other = Conv2d(1, 1, 1, bias=False)
    other.weight = shared.weight
    network = Sequential(shared, other)
    assert network.parameters() == [shared.weight]
    assert set(network.state_dict()) == {"0.weight", "1.weight"}


def test_numbers_in_a_list_do_not_disturb():
    assert Holder(sizes=[1, 2, 3], words=("a",), table={"b": 2}, seen={4}).parameters() == []


def test_layers_in_a_set_are_refused_because_it_has_no_order():
    with pytest.raises(TypeError, match="blocks is a set.*use a list"):
        Holder(blocks={ReLU()}).modules()


def test_a_replaced_layer_has_the_name_of_its_place():
    network = Sequential(first=Conv2d(1, 2, 3), last=Conv2d(2, 1, 1))
    network.layers[1] = Conv2d(2, 4, 1)
    parameters = network.parameters()
    assert [parameter.name for parameter in parameters][2:] == ["last.weight", "last.bias"]
    again = Sequential(first=Conv2d(1, 2, 3), last=Conv2d(2, 4, 1))
    again.load_state_dict(network.state_dict())
    np.testing.assert_array_equal(again.layers[1].weight.data, network.layers[1].weight.data)


def test_a_backward_after_evaluation_mode_says_so():
    layer = ReLU().eval()
    layer(np.ones((1, 2, 3, 1)))
    with pytest.raises(RuntimeError, match="in evaluation mode none is saved"):
        layer.backward(np.ones((1, 2, 3, 1)))


def test_a_forward_that_saves_no_backward_is_told_how():
    class Double(Layer):
        def forward(self, x):
            return 2 * x

    layer = Double()
    with pytest.raises(RuntimeError, match=r"must return self.save_backward\(\(y, backward\)\)"):
        layer.backward(layer(np.ones((1, 2, 3, 1))))


def test_what_is_missing_from_a_state_is_named_with_its_side():
    with pytest.raises(ValueError, match=r"bias is missing in the state, \(3,\) in the network"):
        Conv2d(2, 3, 3).load_state_dict(Conv2d(2, 3, 3, bias=False).state_dict())
    with pytest.raises(ValueError, match=r"bias is \(3,\) in the state, missing in the network"):
        Conv2d(2, 3, 3, bias=False).load_state_dict(Conv2d(2, 3, 3).state_dict())


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (
            Conv2d(2, 4, (3, 1), padding="same"),
            "Conv2d(kernel_size=(3, 1), stride=(1, 1), padding='same', weight=(3, 1, 2, 4), "
            "bias=(4,))",
        ),
        (Dropout(0.5), "Dropout(rate=0.5)"),
        (Sequential(MaxPool2d(2), act=ReLU()), "Sequential(0=MaxPool2d, act=ReLU)"),
        (Parameter(np.zeros((2, 3))), "Parameter(shape (2, 3), float64)"),
    ],
)
def test_layers_and_parameters_say_what_they_are(thing, text):
    assert repr(thing) == text


def test_a_layer_must_say_what_it_does():
    with pytest.raises(TypeError):
        Layer()(np.zeros((1, 2, 3, 1)))
