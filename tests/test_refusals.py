"""What can't be done is one line at once: numbers beyond all reason, paths of every kind."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_training import blobs, write_folders
from tinyunet.checkpoint import Model, save_model
from tinyunet.cli.main import main
from tinyunet.errors import UserError
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.training.trainer import Trainer

TINY = "--steps 1 --batch-size 1 --crop-size 16 --base-channels 2 --depth 1 --device cpu"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder with images, masks, a scene and a model, without a device."""

    def would_train(trainer, progress):
        raise UserError("all is well so far, and the training would begin")

    monkeypatch.setattr(Trainer, "run", would_train)
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path, blobs(4))
    image, mask = blobs(1, size=(50, 40)).images[0], blobs(1, size=(50, 40)).masks[0]
    Image.fromarray(image).save("scene.png")
    Image.fromarray(mask).save("mask.png")
    network = UNet(3, 2, base_channels=2, depth=1)
    save_model("model.npz", Model(network, Standardization(np.zeros(3), np.ones(3))))
    return tmp_path


def assert_done_or_said_in_one_line(arguments: list[str], capsys) -> None:
    start = time.perf_counter()
    status = main(arguments)
    error = capsys.readouterr().err
    complaints = [line for line in error.splitlines() if not line.startswith("tinyunet: note")]
    if status == 2:
        assert complaints and all(line.startswith("tinyunet: ") for line in complaints), error
        assert len(complaints) == 1 or arguments[0] == "predict"  # a line for each bad image
        assert time.perf_counter() - start < 5  # a second, on a computer that does nothing else
    else:
        assert status == 0 or (status == 1 and arguments[0] == "check")
    assert not list(Path().rglob(".tinyunet-*")) and not list(Path().rglob(".lock"))


COMMANDS = {
    "train images masks --out run " + TINY: (
        *("--steps --batch-size --crop-size --base-channels --depth --val-interval".split()),
        *("--patience --seed --threads --lr --dropout --val-fraction".split()),
        *("--momentum --ignore-index --cache".split()),
    ),
    "predict model.npz scene.png --out out": ("--tile", "--margin", "--threads"),
    "evaluate model.npz images masks": ("--tile", "--margin", "--threads"),
    "tile scene.png mask.png --out tiles": ("--size", "--overlap"),
    "check images masks": ("--depth", "--crop-size", "--ignore-index"),
    "inspect": ("--base-channels", "--depth", "--channels", "--classes", "--size"),
}
NUMBERS = ("-1", "0", "1e999", "nan", "10000000", "9" * 30, "9" * 5000)


@pytest.mark.parametrize(
    ("command", "option"),
    [(command, option) for command in COMMANDS for option in COMMANDS[command]],
)
def test_a_number_beyond_all_reason_is_a_line_at_once(here, capsys, command, option):
    for number in NUMBERS:
        assert_done_or_said_in_one_line([*command.split(), f"{option}={number}"], capsys)
        for made in ("run", "out", "tiles"):
            shutil.rmtree(made, ignore_errors=True)


def awkward_paths() -> list[str]:
    """Make files and folders that are hard to deal with; returns their paths, and some of none."""
    Path("empty").mkdir()
    Path("file").write_text("text")
    Path("nothing").touch()
    Path("öäü 森").mkdir()
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("nowhere")
    Path("a-folder.png").mkdir()
    Path("a-folder.npz").mkdir()
    os.mkfifo("pipe")
    Path("\x1b[31m").mkdir()
    Path("line\nbreak").mkdir()
    os.mkdir(b"caf\xe9")
    return [
        *("", ".", "..", "/", "missing", "missing/deeper", "file/inside", "file", "nothing"),
        *("empty", "öäü 森", "loop", "loop/inside", "dangling", "dangling/inside"),
        *("a-folder.png", "a-folder.npz", "scene.png/inside", "model.npz", "masks", "scene.png"),
        *("n" * 300, "n" * 300 + "/inside", "d/" * 3000, "/proc/self/mem", "pipe"),
        *("\x1b[31m", "line\nbreak", os.fsdecode(b"caf\xe9"), os.fsdecode(b"caf\xe9/inside")),
        *("-", "~", "*", "%s", "{}", "CON", "images/"),
    ]


PATHS = (
    "train PATH masks --out run " + TINY,
    "train images PATH --out run " + TINY,
    "train images masks --out PATH " + TINY,
    "train images masks --out run --val-images PATH --val-masks masks " + TINY,
    "train images masks --out run --classes PATH " + TINY,
    "train images masks --out PATH --resume",
    "predict PATH scene.png --out out",
    "predict model.npz PATH --out out",
    "predict model.npz scene.png --out PATH",
    "evaluate model.npz PATH masks",
    "evaluate model.npz images PATH",
    "evaluate model.npz images masks --out PATH",
    "evaluate model.npz images masks --json PATH",
    "tile PATH mask.png --out tiles",
    "tile scene.png PATH --out tiles",
    "tile scene.png mask.png --out PATH",
    "check PATH masks",
    "check images PATH",
    "check images masks --out PATH",
    "inspect PATH",
    "export PATH --out model.onnx",
)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes and no such names in folders")
@pytest.mark.parametrize("command", PATHS)
def test_a_path_of_any_kind_works_or_is_a_line(here, capsys, command):
    for number, path in enumerate(awkward_paths()):
        if path in ("/", "..") and ("--out PATH" in command or command.startswith("predict")):
            continue  # there it would work, on more than ours
        arguments = [path if word == "PATH" else word for word in command.split()]
        if "--out" in arguments and "--out PATH" not in command and "onnx" not in command:
            place = arguments.index("--out") + 1
            arguments[place] += str(number)
        assert_done_or_said_in_one_line(arguments, capsys)
