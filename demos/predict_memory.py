"""How much memory does a large image take? Paints one, predicts it, and prints the peak.

The prediction runs in a process of its own, by the same command that a person would type, with a
network that has learned nothing (which computes as much as any other).

    python demos/predict_memory.py                       # 10,000 x 10,000 pixels, tiles of 512
    python demos/predict_memory.py --size 2000           # in a minute
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tinyunet.atomic_io import save_picture
from tinyunet.backend import DEVICES
from tinyunet.checkpoint import Model, save_model
from tinyunet.cli.main import main as tinyunet
from tinyunet.data.scenes import CLASSES, paint_scene
from tinyunet.distributed.replicas import available_cores
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet

PAINTED = 500  # pixels a side of the scene that is repeated until the image is full


def paint(path: Path, size: int) -> None:
    """Save a large image: a painted scene, repeated."""
    scene, _ = paint_scene((PAINTED, PAINTED), seed=0)
    times = -(-size // PAINTED)
    save_picture(np.tile(scene, (times, times, 1))[:size, :size], path)


def peak_memory() -> int:
    """Tell the most memory that this process has had in use, in bytes."""
    try:  # Linux; the other way would count what the process had before it became this program
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except OSError:
        import resource  # not on Windows

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def predict_and_report(arguments: list[str]) -> int:
    """Run ``tinyunet`` in this process, and print the peak; returns the exit status."""
    start = peak_memory()
    status = tinyunet(arguments)
    print(start, peak_memory())
    return status


def main(arguments=None):
    """Paint, predict in another process, print."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = Path(folder)
        paint(folder / "image.png", options.size)
        network = UNet(3, len(CLASSES), base_channels=options.base_channels, depth=options.depth)
        standardization = Standardization([128.0] * 3, [64.0] * 3)
        save_model(folder / "model.npz", Model(network, standardization))
        command = ["predict", folder / "model.npz", folder / "image.png", "--out", folder / "out"]
        command += ["--tile", options.tile, "--threads", options.threads]
        command += ["--device", options.device] + ["--probabilities"] * options.probabilities
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, __file__, "--child", *map(str, command)], stdout=subprocess.PIPE
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(done.returncode)
    before, peak = (int(word) for word in done.stdout.split()[-2:])
    print(
        f"{options.size:,} x {options.size:,} pixels, base {options.base_channels}, "
        f"depth {options.depth}, "
        f"tiles of {options.tile}, {options.threads} threads, {len(CLASSES)} classes"
        f"{', with probabilities' * options.probabilities}:\n"
        f"peak {peak / 1e9:.2f} GB ({before / 1e9:.2f} GB of it before the image is read), "
        f"{seconds:.0f} s"
    )


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=10_000, help="side of the image (10000)")
    parser.add_argument("--tile", type=int, default=512, help="side of a tile (512)")
    parser.add_argument(
        "--base-channels", type=int, default=16, help="channels of the first level (16)"
    )
    parser.add_argument("--depth", type=int, default=4, help="how often it is halved (4)")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--probabilities", action="store_true", help="write those, too")
    parser.add_argument("--folder", type=Path, help="where to put the image for the time being")
    options = parser.parse_args(arguments)
    if min(options.size, options.tile, options.base_channels, options.depth, options.threads) < 1:
        parser.error("all numbers must be 1 or more")
    return options


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(predict_and_report(sys.argv[2:]))
    main()
