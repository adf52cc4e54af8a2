"""The demos that train something run from start to end, here in a reduced form."""

import pytest
from PIL import Image

from tests.test_demos import load


def run_demo(name, folder, capsys, *arguments):
    """Run a demo on the CPU, look whether its picture is there, and return what it said."""
    pytest.importorskip("matplotlib", reason="needs the extra 'demos'")
    path = folder / "new" / f"{name}.png"
    load(name).main([*arguments, "--device", "cpu", "--out", str(path)])
    with Image.open(path) as picture:
        assert min(picture.size) > 300
    said = capsys.readouterr().out
    assert str(path) in said
    assert said.strip().splitlines()[-1].startswith("What you should have seen: ")
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
