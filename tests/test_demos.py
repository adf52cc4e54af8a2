"""The demos run from start to end; here with far fewer steps than they need to learn something."""

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.networks import in_float64
from tinyunet.backend import to_host
from tinyunet.checkpoint import Model, save_model
from tinyunet.data.scenes import CLASS_COLORS
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet

DEMOS = Path(__file__).parent.parent / "demos"


def load(name):
    """Load a demo as a module; as when it is run, it finds its neighbors."""
    if str(DEMOS) not in sys.path:
        sys.path.append(str(DEMOS))
    spec = importlib.util.spec_from_file_location(name, DEMOS / f"{name}.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    return demo


@pytest.fixture(scope="module")
def orchard_meadow():
    """Load the demo as a module, judged on two scenes only."""
    pytest.importorskip("matplotlib", reason="needs the extra 'demos'")
    pytest.importorskip("sklearn", reason="needs the extra 'demos'")
    demo = load("orchard_meadow")
    demo.HELD_OUT = 2
    return demo


def test_orchard_meadow_leaves_a_picture_and_says_what_came_out(orchard_meadow, tmp_path, capsys):
    path = tmp_path / "new" / "picture.png"
    small = ["--steps", "2", "--scenes", "2", "--device", "cpu"]
    orchard_meadow.main([*small, "--out", str(path), "--narrow", str(tmp_path / "narrow.png")])
    with Image.open(tmp_path / "narrow.png") as picture:
        assert picture.width < picture.height
    with Image.open(path) as picture:
        assert picture.width > picture.height > 1000
    said = capsys.readouterr().out
    assert "U-Net, which sees the neighborhood" in said
    assert "commonest mistake" in said.splitlines()[-1] and str(path) in said


@pytest.mark.parametrize(
    "arguments", [["--steps", "0"], ["--scenes", "-3"], ["--threads", "0"], ["--device", "tpu"]]
)
def test_orchard_meadow_refuses_what_makes_no_sense(orchard_meadow, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        orchard_meadow.main(arguments)
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_random_forest_on_colors_stays_below_the_promise(orchard_meadow):
    options = types.SimpleNamespace(seed=0, threads=1)
    training = orchard_meadow.paint_scenes(4, seed=0)
    held_out = orchard_meadow.paint_scenes(2, seed=1)
    scores = orchard_meadow.train_forest(training, held_out, options).scores
    assert 0.3 < scores.mean_iou < 0.6


# -- augmentation.py -----------------------------------------------------------------------------


def test_the_augmentations_are_drawn_for_a_painted_scene_and_for_any_pair(tmp_path, capsys):
    demo = load("augmentation")
    demo.main(["--out", str(tmp_path / "a.png"), "--device", "cpu"])
    *_, saved, sentence = capsys.readouterr().out.splitlines()
    assert str(tmp_path / "a.png") in saved
    assert sentence.startswith("You should have seen") and "take 0 pixels" in sentence
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 30), dtype=np.uint8)).save(tmp_path / "i.png")
    mask = rng.integers(0, 3, (40, 30), dtype=np.uint8)
    mask[0] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    pair = ["--image", str(tmp_path / "i.png"), "--mask", str(tmp_path / "m.png")]
    demo.main([*pair, "--ignore-index", "255", "--out", str(tmp_path / "b.png")])
    for name in ("a.png", "b.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 500
    with Image.open(tmp_path / "a.png") as picture:  # the legend has the scenes' own colors
        found = {color for _, color in picture.convert("RGB").getcolors(1 << 24)}
    assert set(map(tuple, CLASS_COLORS.tolist())) <= found


def test_the_augmentations_of_an_image_without_mask_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        load("augmentation").main(["--image", "a.png"])
    assert stopped.value.code == 2
    assert "give both or neither" in capsys.readouterr().err


# -- to_pytorch.py -------------------------------------------------------------------------------


@pytest.mark.parametrize("upsampling", ["transpose", "nearest"])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("norm", [None, "batch"])
def test_pytorch_gives_the_same_logits(upsampling, padding, norm):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    demo = load("to_pytorch")
    network = UNet(
        2,
        3,
        base_channels=2,
        depth=2,
        upsampling=upsampling,
        padding=padding,
        norm=norm,
        dropout=0.5,
    )
    in_float64(network)
    twin = demo.to_pytorch(network).double()
    twin.load_state_dict(demo.translated(network.state_dict()), strict=False)  # in float64
    height, width = network.valid_sizes()[3:5]
    image = np.random.default_rng(0).normal(size=(2, height, width, 2))
    with torch.no_grad():
        theirs = twin(torch.from_numpy(image.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(
        to_host(network.eval()(image)), theirs.transpose(0, 2, 3, 1), atol=1e-12
    )


def test_a_model_becomes_a_file_that_pytorch_loads(tmp_path, capsys):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    demo = load("to_pytorch")
    network = UNet(3, 2, base_channels=2, depth=1, norm="batch")
    path = tmp_path / "model.npz"
    save_model(path, Model(network, Standardization([1.0] * 3, [2.0] * 3)))
    demo.main([str(path), "--device", "cpu"])
    assert "differ by at most" in capsys.readouterr().out
    content = torch.load(tmp_path / "model.pt")
    demo.UNet(**content["settings"]).load_state_dict(content["weights"])
    assert content["std"].tolist() == [2.0] * 3
    with pytest.raises(SystemExit):
        demo.main([str(tmp_path / "nowhere.npz")])
    assert "no such model file" in capsys.readouterr().err


# -- predict_memory.py ---------------------------------------------------------------------------


def test_the_memory_of_a_prediction_is_measured(tmp_path, capsys):
    demo = load("predict_memory")
    small = "--size 70 --tile 32 --base-channels 2 --depth 1 --threads 1 --probabilities".split()
    demo.main([*small, "--folder", str(tmp_path)])
    said = capsys.readouterr().out
    assert "70 x 70 pixels" in said and "peak 0." in said
    assert list(tmp_path.iterdir()) == []
