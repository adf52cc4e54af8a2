"""The fast operations equal the plain ones, whatever their shapes and however they are cut up."""

import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyunet
from tests import definitions
from tests.comparing import (
    TOLERANCE,
    as_tuple,
    assert_close,
    assert_equals_definition,
    assert_has_manners,
)
from tests.every_operation import PLAIN, calls, laid_out, layouts
from tests.strategies import convolutions, random_array
from tinyunet import fast
from tinyunet.backend import to_host
from tinyunet.errors import UserError
from tinyunet.fast import winograd
from tinyunet.fast.bands import BAND_BYTES
from tinyunet.fast.threads import lend
from tinyunet.nn import functional, optimizers
from tinyunet.nn.gradcheck import check_gradients
from tinyunet.nn.operations import operations, use_operations


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PLAIN)
@given(data=st.data())
def test_the_fast_operation_equals_the_plain_one(xp, name, dtype, data):
    call = data.draw(calls(name, dtype))
    arrays = [laid_out(data.draw(layouts), array, xp) for array in call.arrays]
    y, backward = call.run(getattr(functional, name), *arrays)
    fast_y, fast_backward = call.run(getattr(fast, name), *arrays)
    dy = xp.asarray(random_array(0, y.shape, dtype))
    results = [y, *as_tuple(backward(dy))]
    fast_results = [fast_y, *as_tuple(fast_backward(dy))]
    # Where images are all the same, batch normalization divides rounding errors by sqrt(epsilon).
    tolerance = 500 * TOLERANCE[dtype] if "norm" in name else TOLERANCE[dtype]
    for result, fast_result in zip(results, fast_results, strict=True):
        assert fast_result.dtype == result.dtype == dtype
        assert_close(fast_result, to_host(result), tolerance)


def test_every_plain_operation_has_its_name_in_fast():
    assert all(callable(getattr(fast, name)) for name in [*PLAIN, "SGD", "Adam"])


# -- The switch ------------------------------------------------------------------------------------


@pytest.fixture
def switch():
    """Put the operations back that were in use."""
    before = operations.name
    yield use_operations
    use_operations(before)


def test_a_person_chooses_the_operations_for_the_whole_process(switch):
    assert tinyunet.use_operations("plain") == "plain"
    assert operations.conv2d is functional.conv2d
    assert operations.Adam is optimizers.Adam
    assert tinyunet.use_operations("fast") == "fast"
    assert operations.conv2d is fast.conv2d
    assert operations.Adam is fast.Adam


def test_unknown_operations_are_named_with_those_that_exist():
    with pytest.raises(UserError, match="unknown operations 'quick': choose one of fast, plain"):
        use_operations("quick")


# -- Bands -----------------------------------------------------------------------------------------


@pytest.fixture
def few_pixels(monkeypatch):
    """Let Winograd's algorithm work on small images, too."""
    monkeypatch.setattr(winograd, "MIN_PIXELS", 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("band_bytes", [1, 2**21])
@given(data=st.data())
def test_winograds_convolution_equals_the_plain_one(few_pixels, dtype, band_bytes, data):
    images, height, width, channels, filters, kernel_width = (
        data.draw(st.integers(1, largest)) for largest in (3, 11, 9, 4, 4, 4)
    )
    padding = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    height, width = max(height, 3 - 2 * padding[0]), max(width, kernel_width - 2 * padding[1])
    shapes = (images, height, width, channels), (3, kernel_width, channels, filters), (filters,)
    arrays = [random_array([7, index], shape, dtype) for index, shape in enumerate(shapes)]
    expected, plain_backward = functional.conv2d(*arrays, padding=padding)
    dy = random_array(8, expected.shape, dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BAND_BYTES, "cpu", band_bytes)
        y, backward = fast.conv2d(*arrays, padding=padding)
        results = [y, *backward(dy)]
    for result, plain_result in zip(results, [expected, *plain_backward(dy)], strict=True):
        assert result.dtype == dtype
        assert_close(result, plain_result, TOLERANCE[dtype])


def test_winograds_convolution_rounds_little_more_than_the_usual_one(monkeypatch):
    x, weight = random_array(0, (1, 32, 30, 64)), random_array(1, (3, 3, 64, 32)) / 24
    exact, exact_backward = functional.conv2d(x, weight, padding=1)
    dy = random_array(2, exact.shape)
    errors = {}
    for pixels in (1, 10**9):
        monkeypatch.setattr(winograd, "MIN_PIXELS", pixels)
        y, backward = fast.conv2d(x.astype("float32"), weight.astype("float32"), padding=1)
        results = [y, *backward(dy.astype("float32"))]
        pairs = zip(results, [exact, *exact_backward(dy)], strict=True)
        errors[pixels] = [np.std(result - right) / np.std(right) for result, right in pairs]
    assert max(errors[1]) < 1e-6
    assert 1 < max(one / usual for one, usual in zip(*errors.values(), strict=True)) < 4


@given(case=convolutions())
def test_the_height_of_the_bands_does_not_matter(few_pixels, case):
    whole, backward = fast.conv2d(*case[:3], **case.options)
    dy = random_array(0, whole.shape)
    gradients = backward(dy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BAND_BYTES, "cpu", 1)  # as low as the kernel lets them be
        in_bands, backward = fast.conv2d(*case[:3], **case.options)
        assert_close(in_bands, whole, 1e-13)
        for gradient, expected in zip(backward(dy), gradients, strict=True):
            assert_close(gradient, expected, 1e-13)


def test_the_smallest_bands_equal_the_definition(xp, few_pixels, monkeypatch):
    for device in BAND_BYTES:
        monkeypatch.setitem(BAND_BYTES, device, 1)
    x, weight = random_array(0, (2, 7, 6, 2)), random_array(1, (3, 2, 2, 3))
    for options in ({"padding": "same"}, {"stride": 2, "padding": (1, 0)}, {"stride": 3}):
        assert_equals_definition(fast.conv2d, definitions.conv2d, x, weight, None, **options)
        assert_has_manners(fast.conv2d, x, weight, **options)
    check_gradients(partial(fast.conv2d, padding="same"), xp.asarray(x), xp.asarray(weight))


@pytest.mark.parametrize("band_bytes", [1, 1000, 2**20])
@pytest.mark.parametrize(("images", "count"), [(1, 2), (1, 3), (2, 4), (3, 2)])
def test_a_convolution_on_several_threads_equals_one_on_one(
    few_pixels, monkeypatch, images, count, band_bytes
):
    monkeypatch.setitem(BAND_BYTES, "cpu", band_bytes)
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(shape) for shape in ((images, 7, 5, 3), (3, 3, 3, 4), 4))
    dy = rng.standard_normal((images, 7, 5, 4))

    def run():
        y, backward = fast.conv2d(x, weight, bias, padding=1)
        return y, *backward(dy)

    alone = run()
    with ThreadPoolExecutor(count) as pool, lend(pool, count):
        together = run()
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)


def test_batch_norm_does_not_keep_the_image_for_its_backward():
    x = np.random.default_rng(0).standard_normal((2, 8, 6, 4))
    gamma, beta = np.ones(4), np.zeros(4)
    kept, image = fast.normalize_batch(x, gamma, beta), weakref.ref(x)
    del x
    assert kept[0][1](np.ones((2, 8, 6, 4)))[0].shape == (2, 8, 6, 4)
    assert image() is None
