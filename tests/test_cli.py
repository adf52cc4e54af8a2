"""The command line: what a person types, what comes back, and one clear line when it can't be."""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyunet
from tests.test_training import blobs, write_folders
from tinyunet import cuda
from tinyunet.atomic_io import save_picture
from tinyunet.checkpoint import Model, load_model, save_model
from tinyunet.cli.main import main, parser
from tinyunet.cli.predict import on_disk
from tinyunet.data.images import Place, open_raster
from tinyunet.data.maps import raster_file
from tinyunet.inference.evaluation import CHANCE
from tinyunet.inference.sliding_window import DEFAULT_MARGIN, DEFAULT_TILE
from tinyunet.nn.gradcheck import GradientError
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.training.config import PAPER, TrainingConfig

ROOT = Path(__file__).parent.parent
SMALL = (
    "--steps 12 --batch-size 2 --crop-size 16 "
    "--base-channels 2 --depth 1 --val-interval 6 --device cpu"
).split()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Make a folder with images, masks and a finished run, for the tests that only read it."""
    folder = tmp_path_factory.mktemp("trained")
    write_folders(folder, blobs())
    arguments = [folder / "images", folder / "masks", "--out", folder / "run", *SMALL]
    arguments += ["--class-names", "ground,blob"]
    assert main(["train", *map(str, arguments)]) == 0
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder of its own that holds images and masks."""
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path, blobs())
    return tmp_path


def call(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def python(*arguments, **more):
    """Run ``python -m tinyunet`` as a person would."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tinyunet", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, **more)


# -- What works ------------------------------------------------------------------------------------


def test_train_leaves_a_run_and_says_where_the_model_is(folder, capsys):
    assert call("train", "images", "masks", "--out", "run", *SMALL) == 0
    captured = capsys.readouterr()
    assert "mean IoU" in captured.out and "run/model.npz" in captured.out
    assert "look at curves.png, preview.png, threshold_curve.png." in captured.out
    # The class table that was worked out, a line a class, as it stands in the run's folder.
    said = [line.strip() for line in captured.err.splitlines()]
    table = Path("run/classes.txt").read_text().split("\n")
    first = said.index("what the masks store for each class:") + 1
    assert len(table) > 2 and said[first : first + len(table) - 1] == table[:-1]
    # Nobody watches, so there is no bar but a line for each checkpoint.
    lines = [line for line in captured.err.splitlines() if "left" in line]
    assert [line.split(":")[0] for line in lines] == ["step 6 of 12", "step 12 of 12"]
    assert "loss" in lines[0] and "val mean IoU" in lines[0] and "00:00 left" in lines[1]
    assert sorted(os.listdir("run")) == sorted(
        "model.npz last.npz metrics.csv curves.png preview.png config.json classes.txt "
        "threshold_curve.png".split()
    )


def test_of_two_classes_train_names_the_threshold_and_predict_asks_for_it(trained, tmp_path):
    model = load_model(trained / "run" / "model.npz")
    curve = model.metadata["validation"]["mean_iou_by_threshold"]
    assert curve[round(100 * model.threshold) - 1] >= max(curve) - CHANCE
    counts = []
    for model.threshold in (0.01, 0.99):
        save_model(tmp_path / "model.npz", model)
        assert call("predict", tmp_path / "model.npz", trained / "images", "--out", tmp_path) == 0
        counts.append(
            sum(np.asarray(Image.open(tmp_path / f"blob{k}.png")).sum() for k in range(6))
        )
    assert counts[0] > counts[1]


def test_resume_needs_only_what_changes(folder, capsys):
    assert call("train", "images", "masks", "--out", "run", *SMALL) == 0
    assert call("train", "images", "masks", "--out", "run", "--resume", "--steps", "14") == 0
    settings = json.loads(Path("run/config.json").read_text())
    assert (settings["steps"], settings["base_channels"], settings["crop_size"]) == (14, 2, 16)
    assert call("train", "images", "masks", "--out", "run", "--resume", "--base-channels", "8") == 2
    assert "base_channels 2, which cannot be changed to 8" in capsys.readouterr().err


def test_paper_is_the_recipe_of_2015_and_other_options_go_before_it(folder):
    pytest.importorskip("scipy", reason="the weight map needs the extra 'demos'")
    smaller = "--base-channels 2 --depth 1 --crop-size 36 --steps 2 --device cpu".split()
    assert call("train", "images", "masks", "--out", "run", "--paper", *smaller) == 0
    settings = json.loads(Path("run/config.json").read_text())
    assert load_model("run/model.npz").network.config["norm"] is None
    expected = PAPER | {"base_channels": 2, "crop_size": 36, "depth": 1, "steps": 2}
    assert {name: settings[name] for name in expected} == expected
    assert (settings["padding"], settings["batch_size"]) == ("valid", 1)
    assert (settings["optimizer"], settings["momentum"]) == ("sgd", 0.99)
    network = UNet(1, 2, base_channels=1, padding=PAPER["padding"])
    assert network.output_size(PAPER["crop_size"], PAPER["crop_size"]) == (388, 388)


def test_evaluate_prints_a_table_and_writes_json(trained, tmp_path, capsys):
    masks, model = trained / "masks", trained / "run" / "model.npz"
    scores = tmp_path / "scores.json"
    assert call("evaluate", model, trained / "images", masks, "--json", scores) == 0
    assert "blob" in capsys.readouterr().out
    result = json.loads(scores.read_text())
    assert result["classes"] == ["ground", "blob"]
    assert np.sum(result["confusion"]) == 6 * 20 * 28
    assert result["mean_iou"] == pytest.approx(np.mean(result["iou"]))
    assert result.keys() >= {"precision", "recall", "kappa"}


def test_predict_writes_class_maps_of_any_size_and_a_picture(trained, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 255, (33, 21, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "odd näme.png")
    out = tmp_path / "out"
    model = trained / "run" / "model.npz"
    arguments = [tmp_path / "odd näme.png", trained / "images", "--out", out, "--probabilities"]
    assert call("predict", model, *arguments, "--tile", 16) == 0
    assert "7 images predicted" in capsys.readouterr().out
    assert len(list(out.iterdir())) == 7 * 4
    with Image.open(out / "odd näme.png") as classes:
        assert classes.size == (21, 33)
        assert classes.mode == "L"
        classes = np.array(classes)
    assert classes.max() <= 1
    first, second = (np.array(Image.open(out / f"odd näme_probability_{k}.tif")) for k in (0, 1))
    assert (abs(first.astype(int) + second - 255) <= 1).all()
    limit = 255 * load_model(model).threshold
    decided = abs(second - limit) > 1
    np.testing.assert_array_equal((second > limit)[decided], (classes == 1)[decided])
    with Image.open(out / "odd näme_overlay.png") as picture:
        assert picture.mode == "RGB"


def test_predict_and_evaluate_take_tta(trained, tmp_path, capsys):
    model, image = trained / "run" / "model.npz", trained / "images" / "blob1.png"
    for out, options in (("plain", []), ("tta", ["--tta"])):
        arguments = [image, "--out", tmp_path / out, "--probabilities", *options]
        assert call("predict", model, *arguments) == 0
    plain, tta = (
        Image.open(tmp_path / out / "blob1_probability_1.tif") for out in ("plain", "tta")
    )
    assert 0 < abs(np.array(plain).astype(int) - np.array(tta)).max()
    capsys.readouterr()
    said = []
    for options in ([], ["--tta"]):
        assert call("evaluate", model, trained / "images", trained / "masks", *options) == 0
        said.append(capsys.readouterr().out)
    assert said[0] != said[1]


def test_probabilities_do_not_depend_on_tiles_or_threads(trained, tmp_path):
    image = np.random.default_rng(1).integers(0, 255, (50, 41, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    model = trained / "run" / "model.npz"
    for out, options in (("one", ""), ("many", "--tile 8 --threads 3 --margin 64")):
        arguments = [tmp_path / "a.png", "--out", tmp_path / out, "--probabilities", "--margin", 64]
        assert call("predict", model, *arguments, *options.split()) == 0
    names = sorted(os.listdir(tmp_path / "one"))
    assert names == ["a.png", "a_overlay.png", "a_probability_0.tif", "a_probability_1.tif"]
    for name in names[::2]:
        one, many = (np.array(Image.open(tmp_path / out / name)) for out in ("one", "many"))
        assert abs(one.astype(int) - many).max() <= 1


def test_a_map_lies_where_its_image_lies(trained, tmp_path):
    place = Place((0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0))
    image = np.random.default_rng(0).integers(1, 255, (20, 30, 3)).astype(np.uint8)
    image[:5] = 0
    keywords = {"photometric": "rgb", "nodata": 0}
    with raster_file(tmp_path / "north.tif", image.shape, "uint8", place, **keywords) as file:
        file.write(np.moveaxis(image, 2, 0))
    model, out = trained / "run" / "model.npz", tmp_path / "out"
    assert call("predict", model, tmp_path / "north.tif", "--out", out, "--probabilities") == 0
    for name in ("north.tif", "north_probability_1.tif"):
        made = open_raster(out / name)
        assert made.place == place and made.shape == (20, 30, 1)
        assert not made.valid()[:5].any() and made.valid()[5:].all()
    assert not (out / "north.png").exists()


def test_an_array_on_disk_is_one_without_a_file_that_stays(tmp_path):
    array = on_disk((30, 20, 3), np.uint16, tmp_path)
    array[4:7, 5:] = 9
    assert array.shape == (30, 20, 3) and array.sum() == 9 * 3 * 15 * 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system can't reserve room")
def test_a_disk_that_is_too_full_for_a_map_is_said_before_the_work(trained, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    arguments = [trained / "run" / "model.npz", trained / "images" / "blob1.png"]
    assert call("predict", *arguments, "--out", trained / "full") == 2
    assert capsys.readouterr().err == "tinyunet: No space left on device\n"


def test_evaluate_draws_the_confusion_and_the_calibration(trained, tmp_path, capsys):
    out = tmp_path / "out"
    model = trained / "run" / "model.npz"
    assert call("evaluate", model, trained / "images", trained / "masks", "--out", out) == 0
    assert "calibration.png" in capsys.readouterr().out
    assert sorted(os.listdir(out)) == ["calibration.png", "confusion.png"]


def test_evaluate_ignores_what_a_model_trained_on_arrays_ignored(tmp_path, capsys):
    model = Model(UNet(3, 2, base_channels=2, depth=1), Standardization([0] * 3, [1] * 3))
    model.ignore_index = 7
    save_model(tmp_path / "model.npz", model)
    mask = np.zeros((8, 8), np.uint8)
    mask[2:] = 7
    save_picture(np.zeros((8, 8, 3), np.uint8), tmp_path / "image.png")
    save_picture(mask, tmp_path / "mask.png")
    arguments = [tmp_path / name for name in ("model.npz", "image.png", "mask.png")]
    assert call("evaluate", *arguments, "--json", tmp_path / "scores.json") == 0
    assert np.sum(json.loads((tmp_path / "scores.json").read_text())["confusion"]) == 16


def test_evaluate_counts_objects_when_asked(trained, tmp_path, capsys):
    pytest.importorskip("scipy", reason="needs the extra 'demos'")
    arguments = [trained / "run" / "model.npz", trained / "images", trained / "masks"]
    assert call("evaluate", *arguments, "--objects", "--json", tmp_path / "s.json") == 0
    assert "false alarms" in capsys.readouterr().out
    report = json.loads((tmp_path / "s.json").read_text())
    *of_the_truth, _ = report["objects"][1]
    assert sum(of_the_truth) == 6  # six blobs, each one piece
    assert len(report["calibration"]) == 10


def test_check_says_what_is_wrong_and_keeps_it(folder, capsys):
    assert call("check", "images", "masks", "--crop-size", 16) == 0
    assert "6 pairs of images in images and masks in masks" in capsys.readouterr().out
    arguments = "--val-images images --val-masks masks --out report".split()
    assert call("check", "images", "masks", *arguments) == 1  # each image is on both sides
    assert "both in training and in validation" in capsys.readouterr().out
    assert sorted(os.listdir("report")) == ["classes.txt", "contact_sheet.png", "report.txt"]


def test_masks_of_0_and_255_or_of_colors_are_learned_as_they_are(folder, capsys):
    colors = np.array([[0, 0, 0], [60, 16, 152]], dtype=np.uint8)
    masks = {path: np.array(Image.open(path)) for path in (folder / "masks").iterdir()}
    for path, mask in masks.items():
        Image.fromarray(255 * mask).save(path)
    assert call("train", "images", "masks", "--out", "run", *SMALL) == 0
    assert Path("run/classes.txt").read_text() == "class 0: 0\nclass 1: 255\n"
    assert call("evaluate", "run/model.npz", "images", "masks", "--json", "scores.json") == 0
    confusion = np.array(json.loads(Path("scores.json").read_text())["confusion"])
    truth = sum(mask.sum() for mask in masks.values())
    assert confusion[1].sum() == truth
    for path, mask in masks.items():
        Image.fromarray(colors[mask]).save(path)
    capsys.readouterr()
    assert call("train", "images", "masks", "--out", "run2", *SMALL) == 2
    assert "--classes FILE" in capsys.readouterr().err
    Path("t.txt").write_text("ground: #000000\nblob: #3c1098\n")
    assert call("check", "images", "masks", "--classes", "t.txt", "--crop-size", 16) == 0
    assert call("train", "images", "masks", "--out", "run2", "--classes", "t.txt", *SMALL) == 0
    assert call("evaluate", "run/model.npz", "images", "masks") == 2
    assert "does not list" in capsys.readouterr().err
    assert call("check", "images", "masks", "--classes", "nowhere.txt") == 2
    assert "nowhere.txt: is no class table that can be read" in capsys.readouterr().err


def test_a_bad_file_is_named_and_the_rest_is_predicted(trained, tmp_path, capsys):
    image = np.random.default_rng(1).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(image).save(tmp_path / "in" / "a.png")
    Image.fromarray(np.dstack([image, image[:, :, :1] * 0 + 255])).save(tmp_path / "in" / "b.png")
    Image.fromarray(image.astype(np.uint16)[:, :, 0]).save(tmp_path / "in" / "c.png")
    (tmp_path / "in" / "d.png").write_bytes(b"no picture")
    Image.fromarray(image[:, :, 0]).save(tmp_path / "in" / "e.png")
    model, out = trained / "run" / "model.npz", tmp_path / "out"
    assert call("predict", model, tmp_path / "in", "--out", out) == 2
    said = capsys.readouterr()
    assert "3 images predicted" in said.out
    assert "c.png: is gray of uint16" in said.err and "d.png: is not an image" in said.err
    assert sorted(path.stem for path in out.glob("?.png")) == ["a", "b", "e"]
    np.testing.assert_array_equal(*(np.array(Image.open(out / f"{k}.png")) for k in "ab"))


@pytest.mark.parametrize("trained_on", ["files", "arrays"])
def test_predict_and_evaluate_are_told_what_transparency_means(
    trained_on, trained, tmp_path, capsys
):
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (20, 28, 4), dtype=np.uint8)
    pixels[:, :, 3] = 255
    pixels[:7, :9, 3] = 0
    for folder, array in (("i", pixels), ("m", rng.integers(0, 2, (20, 28), dtype=np.uint8))):
        (tmp_path / folder).mkdir()
        Image.fromarray(array).save(tmp_path / folder / "a.png")
    model = trained / "run" / "model.npz"
    if trained_on == "arrays":
        learned = load_model(model)
        learned.metadata = {}
        save_model(model := tmp_path / "model.npz", learned)
    predict = ("predict", model, tmp_path / "i", "--out", tmp_path / "out")
    evaluate = ("evaluate", model, tmp_path / "i", tmp_path / "m", "--json", tmp_path / "s.json")
    for command in (predict, evaluate):
        assert call(*command) == 2
        assert "--alpha valid" in capsys.readouterr().err
    for alpha, counted in (("valid", 20 * 28 - 63), ("drop", 20 * 28)):
        assert call(*predict, "--alpha", alpha) == call(*evaluate, "--alpha", alpha) == 0
        classes = np.array(Image.open(tmp_path / "out" / "a.png"))
        assert (classes[:7, :9] == 255).all() == (alpha == "valid")
        scores = json.loads((tmp_path / "s.json").read_text())
        assert np.sum(scores["confusion"]) == counted
    assert call(*predict, "--alpha", "channel") == 2


def test_a_scene_becomes_tiles_that_can_be_trained_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scene = blobs(1, size=(64, 96))
    Image.fromarray(scene.images[0]).save("scene.png")
    mask = np.zeros((64, 96), np.uint8)
    mask[::7, ::5] = 1
    Image.fromarray(mask).save("mask.png")
    assert main("tile scene.png mask.png --out tiles --size 32".split()) == 0
    said = capsys.readouterr().out
    assert "6 tiles of 32 x 32 pixels." in said
    program, *command = shlex.split(said.partition("Train with: ")[2])
    assert program == "tinyunet"
    assert main([*command, *SMALL, "--loss", "ce+dice", "--elastic"]) == 0
    settings = json.loads(Path("run/config.json").read_text())
    assert (settings["training_images"], settings["validation_images"]) == (4, 2)
    train = ["train", "tiles/images", "tiles/masks", "--out", "random"]
    assert main([*train, *SMALL, "--optimizer", "sgd", "--momentum", "0.9"]) == 0
    assert main("tile scene.png mask.png --out tiles".split()) == 2


def test_inspect_describes_a_model_or_a_network(trained, capsys):
    assert call("inspect", trained / "run" / "model.npz", "--size", "48") == 0
    assert "48 x 48 x 2" in capsys.readouterr().out
    assert (
        call("inspect", *"--base-channels 64 --padding valid --channels 1 --norm none".split()) == 2
    )
    assert "nearest that fit: 252, 268" in capsys.readouterr().err
    paper = "--base-channels 64 --padding valid --channels 1 --norm none --size 572"
    assert call("inspect", *paper.split()) == 0
    table = capsys.readouterr().out
    assert "31,030,658" in table and "388 x 388 x 2" in table


def test_info_names_the_versions_and_what_is_missing(capsys):
    assert call("info") == 0
    text = capsys.readouterr().out
    assert tinyunet.__version__ in text
    assert np.__version__ in text
    assert "threads" in text
    problem = cuda.cuda_problem()
    assert (problem or "CUDA") in text


def test_gradcheck_prints_a_table_and_fails_when_a_gradient_is_wrong(capsys, monkeypatch):
    outcomes = {"conv2d": 1e-9, "relu": 1e-10}

    def run_cases():
        return ((name, found, 0.1) for name, found in outcomes.items())

    monkeypatch.setattr("tinyunet.cli.describe.run_cases", run_cases)
    assert call("gradcheck") == 0
    assert "conv2d" in capsys.readouterr().out
    outcomes["relu"] = GradientError("dx is wrong:\nit has the opposite sign")
    assert call("gradcheck") == 1
    out = capsys.readouterr().out
    assert "WRONG" in out and "\n    dx is wrong:\n    it has the opposite sign\n" in out


def test_python_m_tinyunet_is_the_same_command():
    result = python("--version")
    assert (result.returncode, result.stdout) == (0, f"tinyunet {tinyunet.__version__}\n")
    result = python("--help")
    assert result.returncode == 0
    for name in "train predict evaluate check tile inspect gradcheck info".split():
        assert name in result.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C another way")
def test_ctrl_c_stops_in_one_line_and_keeps_the_checkpoint(folder):
    arguments = ["train", "images", "masks", "--out", "run", *SMALL, "--steps", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tinyunet", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not Path("run/model.npz").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == (
        "tinyunet: stopped; a training goes on from its last checkpoint with --resume"
    )
    assert "Traceback" not in errors
    assert call("inspect", "run/last.npz", "--size", "16") == 0


# -- What --help says ------------------------------------------------------------------------------


def commands() -> dict:
    """List the parsers of all commands by their names."""
    [subparsers] = [a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return subparsers.choices


@pytest.mark.parametrize("name", [None, *commands()])
def test_every_line_of_help_is_a_sentence_that_stands_alone(name):
    described = parser() if name is None else commands()[name]
    sentences = [action.help for action in described._actions if action.help is not None]
    sentences.append(described.description)
    assert len(sentences) > 1
    for sentence in sentences:
        assert re.fullmatch(r"[A-Z].*\w.*\)?\.", sentence), sentence
        assert not re.search(r"colour|normalis|neighbour|centre", sentence)


def test_train_explains_its_options_in_groups_with_the_defaults_that_hold():
    groups = {group.title: group._group_actions for group in commands()["train"]._action_groups}
    assert list(groups)[2:] == ["data", "network", "training", "output"]
    options = [action for actions in groups.values() for action in actions]
    told = {a.dest: m[1] for a in options if (m := re.search(r"\(default: ([^),]+)", a.help))}
    settings = TrainingConfig("", "", "")
    for name, default in told.items():
        expected = getattr(settings, name)
        known = {"all cores": None, "all": None}
        assert known.get(default, default) in (expected, str(expected)), name
    assert told.keys() >= {"steps", "lr", "momentum", "depth", "val_split", "crop_size"}
    assert {action.dest for action in options} - {"help", "paper"} <= set(vars(settings))


def test_the_defaults_of_prediction_are_told_and_hold(capsys):
    for name in ("predict", "evaluate"):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        said = " ".join(capsys.readouterr().out.split())
        assert f"tiles of the image in pixels (default: {DEFAULT_TILE})" in said
        assert f"seen around each tile (default: {DEFAULT_MARGIN})" in said


# -- What a person may get wrong -------------------------------------------------------------------


def spoil_size(folder):
    Image.fromarray(np.zeros((7, 8), np.uint8)).save(folder / "masks" / "blob3.png")


def spoil_class(folder):
    Image.fromarray(np.full((20, 28), 7, np.uint8)).save(folder / "masks" / "blob3.png")


def spoil_image(folder):
    path = folder / "images" / "blob3.png"
    path.write_bytes(path.read_bytes()[:500])


def spoil_stems(folder):
    for letter, path in zip("abcdef", sorted((folder / "masks").iterdir()), strict=True):
        path.rename(path.with_name(f"{letter}.png"))


def spoil_nothing(folder):
    pass


TRAIN = "train images masks --out run"


@pytest.mark.parametrize(
    ("spoil", "command", "message"),
    [
        (spoil_nothing, "train nowhere masks --out run", "nowhere: no such folder"),
        (spoil_stems, TRAIN, "no pairs"),
        (spoil_size, TRAIN, "blob3.png: has 7 x 8 pixels"),
        (spoil_class, f"{TRAIN} --class-names ground,blob", "blob3.png: holds the value 7"),
        (spoil_image, TRAIN, "blob3.png: is broken"),
        (spoil_nothing, TRAIN, "less than half the crop of 128"),
        (spoil_nothing, f"{TRAIN} --crop-size 20", "nearest that fit: 16, 32"),
        (spoil_nothing, f"{TRAIN} --device tpu", "argument --device: invalid choice"),
        (spoil_nothing, f"{TRAIN} --steps many", "argument --steps: invalid int"),
        (spoil_nothing, f"{TRAIN} --lr -1", "argument --lr: -1 is not from 1e-12 to"),
        (spoil_nothing, f"{TRAIN} --resume", "no run to resume"),
        (spoil_nothing, "train images masks", "required: --out"),
        (spoil_nothing, "", "required: COMMAND"),
        (spoil_nothing, "draw", "invalid choice: 'draw'"),
        (spoil_nothing, "evaluate nowhere.npz images masks", "no such model file"),
        (spoil_nothing, "predict images/blob1.png images --out run", "not a tinyunet model"),
        (spoil_nothing, f"{TRAIN} --momentum 0.9", "--momentum goes with --optimizer sgd"),
        (
            spoil_nothing,
            f"{TRAIN} --optimizer sgd --momentum 2",
            "argument --momentum: 2 is not from 0 to 0.9999",
        ),
        (spoil_nothing, f"{TRAIN} --loss hinge", "argument --loss: invalid choice"),
        (spoil_nothing, f"{TRAIN} --patience 0", "argument --patience: 0 is not from 1"),
        (
            spoil_nothing,
            f"{TRAIN} --crop-size 16 --val-split spatial",
            "a spatial split needs a scene",
        ),
        (spoil_nothing, "check images nowhere", "nowhere: no such folder"),
        (spoil_nothing, "check images masks --val-images images", "give both or none"),
        (
            spoil_nothing,
            "tile images/blob1.png masks/blob1.png --out images --size 8",
            "is not empty",
        ),
        (
            spoil_nothing,
            "tile images/blob1.png masks/blob1.png --out tiles",
            "choose a smaller size than",
        ),
        (spoil_nothing, "tile a b --out c --size 0", "argument --size: 0 is not from 1"),
        (spoil_nothing, "inspect --size 3 --depth 2", "nearest that fit: 4"),
        (spoil_nothing, "inspect --size big", "argument --size: invalid int value: 'big'"),
        (spoil_nothing, "inspect --classes 0", "argument --classes: 0 is not from 1 to 4096"),
        (spoil_nothing, "inspect images/blob1.png --base-channels 4", "drop the options"),
    ],
    ids=str,
)
def test_a_mistake_gives_one_line_and_status_2_and_writes_nothing(
    folder, capsys, spoil, command, message
):
    spoil(folder)
    before = sorted(folder.rglob("*"))
    assert main(command.split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("tinyunet: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("predict MODEL deep.png --out out", "deep.png: is gray of uint16|RGB of uint8"),
        ("predict MODEL images/blob1.png --out images", "choose another --out"),
        ("predict MODEL images images/blob1.png --out out", "would both become blob1"),
        ("predict MODEL images nowhere.png --out out", "nowhere.png: no such file"),
        ("predict MODEL empty --out out", "no images in empty"),
        ("predict MODEL images --out out --tile 0", "argument --tile: 0 is not from 1"),
        (
            "predict MODEL images --out out --threads x",
            "argument --threads: invalid int value: 'x'",
        ),
        ("predict MODEL twins --out out --probabilities", "would both become a_overlay"),
        ("predict MODEL cut.png --out out --probabilities", "cut.png: is broken"),
        ("predict MODEL images --out cut.npz", "cannot use cut.npz: File exists"),
        ("evaluate MODEL images masks --out cut.npz", "cannot use cut.npz: File exists"),
        ("evaluate MODEL images other-masks", "blob1.png: holds 9 (560 pixels)"),
        ("evaluate MODEL images masks --json nowhere/scores.json", "cannot write nowhere"),
        ("evaluate cut.npz images masks", "cut.npz: is damaged"),
    ],
)
def test_a_mistake_with_a_model_at_hand(trained, folder, capsys, command, message):
    model = trained / "run" / "model.npz"
    Path("cut.npz").write_bytes(model.read_bytes()[:-1000])
    Path("cut.png").write_bytes(Path("images/blob1.png").read_bytes()[:500])
    Path("empty").mkdir()
    Path("twins").mkdir()
    for name in ("a", "a_overlay"):
        Image.fromarray(np.zeros((20, 28, 3), np.uint8)).save(f"twins/{name}.png")
    Path("other-masks").mkdir()
    Image.fromarray(np.full((20, 28), 9, np.uint8)).save("other-masks/blob1.png")
    Image.fromarray(np.zeros((20, 28), np.uint16)).save("deep.png")
    before = sorted(folder.rglob("*"))
    assert main([str(model) if word == "MODEL" else word for word in command.split()]) == 2
    captured = capsys.readouterr()
    assert any(part in captured.err for part in message.split("|"))
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(folder.rglob("*")) == before


def test_cuda_that_is_missing_gives_the_reason_and_what_to_install(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main([*TRAIN.split(), "--device", "cuda"]) == 2
    error = capsys.readouterr().err
    assert "CuPy is not installed" in error and "pip install" in error
    assert error.count("\n") == 1
    assert not Path("run").exists()


def test_a_mistake_in_a_real_process_has_status_2_and_no_traceback(tmp_path):
    result = python("train", "nowhere", "masks", "--out", "run", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == "tinyunet: nowhere: no such folder\n"
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_no_number_ends_in_one_line(folder):
    result = python(
        "train", "images", "masks", "--out", "run", *SMALL, "--lr", "1e6", "--norm", "none"
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("tinyunet: ")
    assert "smaller learning rate" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr and "RuntimeWarning" not in result.stderr
    load_model("run/last.npz")


def test_a_reader_that_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "tinyunet", "inspect"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    os.close(writing)
    assert (result.returncode, result.stderr) == (0, b"")
