"""The demos that take seconds run from start to end, and what they say at the end holds."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.test_demos import load

pytest.importorskip("matplotlib", reason="needs the extra 'demos'")


def run(demo, tmp_path, capsys, *settings):
    """Run a demo, look for its picture, and return its last line."""
    path = tmp_path / "new" / "picture.png"
    demo.main([*settings, "--device", "cpu", "--out", str(path)])
    with Image.open(path) as picture:
        assert min(picture.size) > 300
    *_, saved, sentence = capsys.readouterr().out.splitlines()
    assert saved == f"The picture: {path}"
    assert sentence.startswith("You should have seen")
    return sentence


def test_the_error_of_a_measured_slope_is_a_v(tmp_path, capsys):
    demo = load("gradient_check")
    demo.STEPS = demo.STEPS[::4]
    said = run(demo, tmp_path, capsys, "--directions", "4")
    double, double_error, single, single_error = (
        float(number)
        for pair in re.findall(r"(?:best at|one at) h = (\S+) \(error (\S+)\)", said)
        for number in pair
    )
    assert 1e-7 < double < 1e-4 < single < 1
    assert double_error < 1e-7 < single_error < 1e-2


def test_a_convolution_alone_has_only_rounding_errors():
    demo = load("gradient_check")
    demo.STEPS = np.array([1e-2, 1.0])
    rng = np.random.default_rng(0)
    convolution = list(demo.functions(rng).values())[0]
    weight, directions = rng.normal(size=(3, 3, 3, 2)), rng.normal(size=(4, 3, 3, 3, 2))
    assert demo.errors(convolution, weight, directions, "float64").max() < 1e-11


def test_a_sliding_window_a_matrix_product_and_conv2d_agree(tmp_path, capsys):
    said = run(load("convolution_by_hand"), tmp_path, capsys, "--size", "48")
    assert "differ by at most 0;" in said
    before, blurred, sharpened = (float(n) for n in re.findall(r"by (\d+\.\d)", said))
    assert blurred < before / 1.5 and sharpened > 1.5 * before


def test_a_checkerboard_needs_taps_that_differ(tmp_path, capsys):
    said = run(load("checkerboard"), tmp_path, capsys, "--size", "5", "--kernels", "16")
    assert "sums 1 to 4 products" in said
    assert "always 1 of the 2 x 2, always 9 after nearest" in said
    uneven = [float(n) for n in re.findall(r"\d\.\d\d", said)]
    assert min(uneven[:2]) > 0.5 and uneven[2] == 0


def test_the_gradient_reaches_the_whole_receptive_field(tmp_path, capsys):
    settings = "--depth 2 --size 48 --networks 3".split()
    said = run(load("receptive_field"), tmp_path, capsys, *settings)
    assert "can see 44 x 44 pixels and the gradient reaches 44 x 44" in said
    half = int(re.search(r"nearest (\d+)", said)[1])
    assert 3 < half < 25


def test_at_depth_three_the_outermost_pixels_of_a_block_see_less():
    demo = load("receptive_field")
    options = demo.parse(["--networks", "3", "--device", "cpu"])
    image = np.random.default_rng(0).normal(size=(1, 112, 112, 3)).astype(np.float32)
    reach = {}
    for center in (56, 60):
        theory, influence = demo.measure(3, image, center, options)
        reach[center] = demo.box(influence)[2:]
    assert theory == 100 and reach == {56: (92, 92), 60: (100, 100)}


def test_tiles_with_half_the_receptive_field_around_have_no_seams(tmp_path, capsys):
    settings = "--steps 2 --tile 16 --threads 1".split()
    said = run(load("overlap_tile"), tmp_path, capsys, *settings)
    without, some, full = (float(n) for n in re.findall(r"(?:up to|and) (\d[^, ]*)", said))
    assert full < 1e-5 < some < without
    assert "with 48, half the receptive field rounded up, 0.0" in said
