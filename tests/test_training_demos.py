"""The demos that train something run from start to end, here in a reduced form."""

import re
import types

import numpy as np
import pytest
from PIL import Image

from tests.test_demos import load
from tinyunet import check_gradients
from tinyunet.backend import to_device, to_host


def run_demo(name, folder, capsys, *arguments):
    """Run a demo on the CPU, look whether its picture is there, and return what it said."""
    pytest.importorskip("matplotlib", reason="needs the extra 'demos'")
    path = folder / "new" / f"{name}.png"
    load(name).main([*arguments, "--device", "cpu", "--out", str(path)])
    with Image.open(path) as picture:
        assert min(picture.size) > 300
    said = capsys.readouterr().out
    assert str(path) in said
    assert said.strip().splitlines()[-1].startswith("You should have seen")
    return said


# -- paper.py ------------------------------------------------------------------------------------


def test_the_network_of_the_paper_has_its_numbers(tmp_path, capsys):
    said = run_demo("paper", tmp_path, capsys, "--no-step")
    numbers = "23 convolutions with 31,030,658 parameters turn 572 x 572 pixels into 388 x 388"
    assert numbers in said
    assert "each number sees 140 x 140 pixels" in said


def test_one_step_of_training_the_paper_s_wiring():
    pytest.importorskip("matplotlib", reason="needs the extra 'demos'")
    demo = load("paper")
    network = demo.UNet(1, 2, base_channels=2, padding="valid")
    before = network.head.weight.data.copy()
    loss, seconds = demo.training_step(network, 188, seed=0)
    assert 0.6 < loss < 0.8 and seconds > 0
    assert (network.head.weight.data != before).any()


def test_a_size_that_the_paper_s_network_cannot_take_is_refused(capsys):
    pytest.importorskip("matplotlib", reason="needs the extra 'demos'")
    with pytest.raises(SystemExit) as stopped:
        load("paper").main(["--size", "570"])
    assert stopped.value.code == 2
    assert "572" in capsys.readouterr().err


# -- wrong_gradients.py --------------------------------------------------------------------------


def test_a_loss_with_wrong_gradients_falls_and_the_checker_is_not_deceived(tmp_path, capsys):
    said = run_demo("wrong_gradients", tmp_path, capsys, "--steps", "3", "--scenes", "2")
    assert "the gradient checker caught 3 of 3" in said
    assert said.count("the checker: ") == 4 and said.count("the checker: right") == 1


def test_after_the_demo_the_gradients_are_right_again(tmp_path, capsys):
    run_demo("wrong_gradients", tmp_path, capsys, "--steps", "1", "--scenes", "1")
    demo = load("wrong_gradients")
    assert all(demo.verdict(function) is None for function in demo.RIGHT.values())


# -- imbalance.py --------------------------------------------------------------------------------


def test_accuracy_beside_the_iou_of_the_rare_class(tmp_path, capsys):
    small = ["--steps", "2", "--scenes", "2", "--starts", "1"]
    said = run_demo("imbalance", tmp_path, capsys, *small)
    assert "finds no building; of 1 starts" in said
    assert said.count("IoU of buildings  ") == 3


# -- skip_connections.py -------------------------------------------------------------------------


def test_skips_are_cut_and_listened_to(tmp_path, capsys):
    said = run_demo("skip_connections", tmp_path, capsys, "--steps", "2", "--scenes", "2")
    assert said.count("wrong beside a border") == 5
    assert float(re.search(r"skip is (\S+) times", said)[1]) > 0


def test_through_a_skip_that_is_cut_nothing_comes_and_nothing_goes_back(capsys):
    pytest.importorskip("matplotlib", reason="needs the extra 'demos'")
    demo = load("skip_connections")
    scenes, options = demo.paint(2, seed=0), types.SimpleNamespace(seed=0, steps=2)
    _, lengths = demo.train((0, 2), scenes, scenes, options)
    assert lengths.shape == (2, 2, 3)  # steps, ways, levels
    assert (lengths[:, 0, [0, 2]] == 0).all()
    assert (lengths[:, 0, 1] > 0).all() and (lengths[:, 1] > 0).all()


@pytest.mark.parametrize("cut", [False, True])
def test_a_join_s_gradient_is_right_and_its_length_is_told(cut):
    pytest.importorskip("matplotlib", reason="needs the extra 'demos'")
    told, rng = [], np.random.default_rng(0)
    join = load("skip_connections").Join(cut, told.append)
    skip, x = (to_device(rng.normal(size=(2, 4, 6, channels))) for channels in (3, 2))

    def function(skip, x):
        def backward(dy):
            join(skip, x)  # after each forward a layer can go back once
            return join.backward(dy)

        return join(skip, x), backward

    assert check_gradients(function, skip, x) < 1e-9
    told.clear()
    dskip, _ = function(skip, x)[1](to_device(np.ones((2, 4, 6, 5))))
    assert float(to_host(told[0])) == np.square(to_host(dskip)).sum() == (0 if cut else 144)


def test_an_error_beside_a_border_counts_there():
    pytest.importorskip("matplotlib", reason="needs the extra 'demos'")
    mask = np.zeros((6, 6), np.uint8)
    mask[:, 3:] = 1  # the columns 2 and 3 lie beside the border
    prediction = np.eye(2)[np.array([mask])]
    prediction[0, 0, 3] = 1, 0  # one of these 12 pixels is wrong
    assert load("skip_connections").errors(prediction, [mask]) == (1 / 12, 0)


# -- applicability.py ----------------------------------------------------------------------------


def test_the_area_of_applicability_of_four_places_and_of_an_image_is_drawn(tmp_path, capsys):
    mine = tmp_path / "mine.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)).save(mine)
    said = run_demo("applicability", tmp_path, capsys, "--steps", "2", "--scenes", "2", str(mine))
    shares = [int(n) for n in re.findall(r": (\d+) % lies outside the area", said)]
    assert len(shares) == 4 and f"{shares[0]} % of a new scene lies outside" in said
