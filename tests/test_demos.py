"""The demos run from start to end; here with far fewer steps than they need to learn something."""

import importlib.util
import types
from pathlib import Path

import pytest
from PIL import Image

DEMOS = Path(__file__).parent.parent / "demos"


@pytest.fixture(scope="module")
def orchard_meadow():
    """Load the demo as a module, judged on two scenes only."""
    pytest.importorskip("matplotlib", reason="needs the extra 'demos'")
    pytest.importorskip("sklearn", reason="needs the extra 'demos'")
    spec = importlib.util.spec_from_file_location("orchard_meadow", DEMOS / "orchard_meadow.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    demo.HELD_OUT = 2
    return demo


def test_orchard_meadow_leaves_a_picture_and_says_what_came_out(orchard_meadow, tmp_path, capsys):
    path = tmp_path / "new" / "picture.png"
    orchard_meadow.main(["--steps", "2", "--scenes", "2", "--device", "cpu", "--out", str(path)])
    with Image.open(path) as picture:
        assert picture.width > picture.height > 1000
    said = capsys.readouterr().out
    assert "U-Net, which sees the neighbourhood" in said
    assert "commonest mistake" in said and str(path) in said


@pytest.mark.parametrize(
    "arguments", [["--steps", "0"], ["--scenes", "-3"], ["--threads", "0"], ["--device", "tpu"]]
)
def test_orchard_meadow_refuses_what_makes_no_sense(orchard_meadow, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        orchard_meadow.main(arguments)
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_random_forest_on_colours_stays_below_the_promise(orchard_meadow):
    options = types.SimpleNamespace(seed=0, threads=1)
    training = orchard_meadow.paint_scenes(4, seed=0)
    held_out = orchard_meadow.paint_scenes(2, seed=1)
    scores = orchard_meadow.train_forest(training, held_out, options).scores
    assert 0.3 < scores.mean_iou < 0.6
