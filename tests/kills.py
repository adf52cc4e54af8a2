"""Kills at random moments: nothing is half-written, nothing is left over, no bit is lost.

Run by hand, since it takes minutes: ``python -m tests.kills 100 30``, the kills of ``train``, then
those of ``predict`` and of ``tile``. The book's page on accidents has its figures.
"""

import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tests.test_training import blobs, write_folders
from tinyunet.checkpoint import load_model

TRAIN = (
    "train images masks --out {} --steps 300 --batch-size 2 --crop-size 16 --base-channels 4 "
    "--depth 1 --val-interval 10 --threads 1 --device cpu"
)


def tinyunet(arguments: str, folder: Path, seconds: float | None = None) -> bool:
    """Run a command, and kill it after so many seconds; tells whether it came to its end."""
    command = [sys.executable, "-m", "tinyunet", *arguments.split()]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _, error = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    assert process.returncode == 0, error
    return True


def duration(command: str, folder: Path) -> float:
    """Run a command to its end; returns the seconds that it took."""
    start = time.perf_counter()
    assert tinyunet(command, folder)
    return time.perf_counter() - start


def moment(whole: float) -> float:
    """Draw when to kill a command that takes so many seconds: Python has begun, and it may end."""
    return random.uniform(0.2, 1) * whole


def kill_training(folder: Path, kills: int) -> int:
    """Kill a run and resume it, again and again; returns how many kills it survived."""
    whole = duration(TRAIN.format("whole"), folder)
    done, run = 0, folder / "run"
    while done < kills:
        begun = (run / "last.npz").exists()
        command = "train images masks --out run --resume" if begun else TRAIN.format("run")
        if tinyunet(command, folder, moment(whole)):
            compare(folder / "whole", run)
            for path in run.iterdir():
                path.unlink()
            continue
        done += 1
        for path in run.glob("*.npz"):
            load_model(path)
    tinyunet("train images masks --out run --resume", folder)
    compare(folder / "whole", run)
    return done


def compare(whole: Path, run: Path) -> None:
    """Check that two runs have the same files, and the same weights bit for bit."""
    assert sorted(p.name for p in whole.iterdir()) == sorted(p.name for p in run.iterdir())
    for name in ("last.npz", "model.npz"):
        ours, theirs = (load_model(path / name).network.state_dict() for path in (whole, run))
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def kill_writing(folder: Path, command: str, out: str, kills: int) -> int:
    """Kill a command that writes into a folder: each file there is whole; returns the kills."""
    whole, done = duration(command, folder), 0
    while done < kills:
        clear(folder / out)
        done += not tinyunet(command, folder, moment(whole))
        for path in (folder / out).rglob("*.[pt][ni][gf]"):
            if any(part.startswith(".") for part in path.relative_to(folder).parts):
                continue  # left over by the kill, for the next run to remove
            with Image.open(path) as picture:
                picture.load()
    clear(folder / out)
    assert tinyunet(command, folder)
    return done


def clear(folder: Path) -> None:
    """Remove what can be seen in a folder; what is hidden is for the next run to remove."""
    for path in folder.glob("[!.]*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> None:
    """Kill, and print how it went."""
    training, writing = (int(number) for number in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as name:
        folder, start = Path(name), time.perf_counter()
        write_folders(folder, blobs(6))
        scene = blobs(1, size=(900, 700))
        Image.fromarray(scene.images[0]).save(folder / "scene.png")
        Image.fromarray(scene.masks[0]).save(folder / "mask.png")
        print(f"train: {kill_training(folder, training)} kills, same weights, no leftovers")
        predict = "predict whole/model.npz scene.png images --out out --tile 64"
        print(f"predict: {kill_writing(folder, predict, 'out', writing)} kills, all files whole")
        tile = "tile scene.png mask.png --out tiles --size 16"
        print(f"tile: {kill_writing(folder, tile, 'tiles', writing)} kills, all files whole")
        assert not list(folder.rglob(".tinyunet-*")) and not list(folder.rglob(".lock"))
        print(f"no leftovers; {time.perf_counter() - start:.0f} seconds")


if __name__ == "__main__":
    random.seed(0)
    main()
