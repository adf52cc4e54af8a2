"""How fast are the commands that people type? ``tinyunet train`` and ``predict``, beside PyTorch.

A step of training is not all that one waits for: there are images to read, crops to turn, a
validation, files to write, and a library to load. So whole processes take turns here, from the
first instant to the last: 200 steps of training with the defaults on painted scenes, then the map
of one large scene. `parts/torch_commands.py` does the same in PyTorch, in both of its memory
formats; it draws its batches with tinyunet, so that both learn from the same ones.

    python demos/whole_command.py                          # half an hour
    python demos/whole_command.py --steps 20 --size 512 --rounds 1

It prints seconds, the ratio to PyTorch's, and the most memory that each process had in use, as a
table in Markdown. PyTorch is optional: ``pip install 'tinyunet[peer]'``.
"""

import argparse
import importlib.util
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tinyunet.atomic_io import save_picture
from tinyunet.data.scenes import paint_scene

SCENES, SIDE = 24, 256  # painted to learn from, and their side in pixels
PAINTED = 512  # pixels a side of the scene that is repeated until the large one is full
SIDES = ("tinyunet", "torch", "torch-channels-last")


def main(arguments=None):
    """Paint, let the sides take turns, print the table."""
    options = parse(arguments)
    sides = SIDES if importlib.util.find_spec("torch") else SIDES[:1]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        paint(folder, options.size)
        measured = {command: {side: [] for side in sides} for command in ("train", "predict")}
        for number in range(options.rounds):
            turn = number % len(sides)
            for command, results in measured.items():
                for side in sides[turn:] + sides[:turn]:
                    results[side].append(run(command_line(command, side, folder, options), options))
    print("| command | side | seconds | of PyTorch's time | memory, MB |")
    print("|:--|:--|--:|--:|--:|")
    for command, results in measured.items():
        for side, rounds in results.items():
            seconds, memory = map(statistics.median, zip(*rounds, strict=True))
            ratios = [
                f"{statistics.median(ours[0] / theirs[0] for ours, theirs in pairs):.2f}"
                for peer in SIDES[1:]
                if (pairs := list(zip(rounds, results.get(peer, []), strict=False)))
            ]
            cells = (command, side, f"{seconds:.1f}", " / ".join(ratios), f"{memory / 1e6:.0f}")
            print(f"| {' | '.join(cells)} |")


def paint(folder: Path, size: int) -> None:
    """Save scenes to learn from, their masks, and a large scene."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for k in range(SCENES):
        image, mask = paint_scene((SIDE, SIDE), (0, k))
        save_picture(image, folder / "images" / f"{k:02}.png")
        save_picture(mask, folder / "masks" / f"{k:02}.png")
    scene, _ = paint_scene((PAINTED, PAINTED), seed=1)
    times = -(-size // PAINTED)
    save_picture(np.tile(scene, (times, times, 1))[:size, :size], folder / "scene.png")


def command_line(command: str, side: str, folder: Path, options) -> list[str]:
    """Give the words of a command of a side; both commands of a side share a folder."""
    images, out = [str(folder / "images"), str(folder / "masks")], folder / side
    if side == "tinyunet":
        program = ["-m", "tinyunet", command]
        if command == "train":
            shutil.rmtree(out, ignore_errors=True)  # the run of the round before
            return [*program, *images, "--out", str(out), "--steps", str(options.steps)]
        scene = str(folder / "scene.png")
        return [*program, str(out / "model.npz"), scene, "--out", str(out / "map")]
    program = ["-m", "parts.torch_commands", command, side]
    if command == "train":
        return [*program, *images, str(out.with_suffix(".pt")), str(options.steps)]
    return [*program, str(out.with_suffix(".pt")), str(folder / "scene.png"), str(out) + ".png"]


def run(words: list[str], options) -> tuple[float, int]:
    """Run a command in a process of its own; returns its seconds and the most bytes it had."""
    environment = dict(os.environ)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # would tune one side's BLAS by hand
        environment.pop(name, None)
    environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    time.sleep(options.pause)
    start = time.perf_counter()
    child = os.spawnve(os.P_NOWAIT, sys.executable, [sys.executable, *words], environment)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"this command failed: {' '.join(words)}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=200, help="of training (200)")
    parser.add_argument("--size", type=int, default=4096, help="side of the large scene (4096)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side (3)")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two turns (1)")
    options = parser.parse_args(arguments)
    if min(options.steps, options.size, options.rounds) < 1:
        parser.error("all numbers must be 1 or more")
    if not hasattr(os, "wait4"):
        parser.error("this system does not tell the memory of a process; Linux and macOS do")
    return options


if __name__ == "__main__":
    main()
