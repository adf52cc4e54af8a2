"""Accuracy lies: where nearly all pixels are background, doing nothing scores high.

Buildings cover a small part of a painted scene. A U-Net learns to find them from several random
starts, each twice: with all pixels counting alike, and with each class weighing as much as the
other. Beside them stands a predictor that always answers "background". One start would not do: how
far a network gets, and whether it is stuck at that answer, is a matter of luck, so the demo counts.

    python demos/imbalance.py             # a minute or two on two cores
"""

import sys

import numpy as np
from parts.command_line import demo_parser, percent, prepare

from tinyunet.backend import to_host
from tinyunet.data.scenes import BUILDING, paint_scenes
from tinyunet.distributed.replicas import Replicas
from tinyunet.inference.evaluation import Scores, confusion_matrix
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.plots.colors import PALETTE
from tinyunet.training.loop import random_batches, training_steps

try:
    import matplotlib

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")

STUCK = 0.05  # who stays below this IoU has found practically nothing
HELD_OUT = 8  # scenes that nothing learns from
NAMES = ("always background", "without class weights", "with class weights")
STYLES = [(PALETTE[7], ":"), (PALETTE[4], "--"), (PALETTE[0], "-")]


def paint_buildings(count, seed):
    """Paint scenes whose masks know two classes: background 0, building 1."""
    scenes = paint_scenes(count, (128, 128), seed)
    scenes.masks[:] = [(mask == BUILDING).astype(np.uint8) for mask in scenes.masks]
    return scenes


def score(prediction, scenes):
    """Compare predicted masks with the truth: (pixel accuracy, IoU of buildings)."""
    scores = Scores(confusion_matrix(np.stack(scenes.masks), prediction, 2))
    return scores.pixel_accuracy, scores.iou[1] or 0.0


def equal_voices(scenes):
    """Give the weights by which each class has half of the weight: one over its share, halved."""
    share = np.mean(scenes.masks)
    return 0.5 / (1 - share), 0.5 / max(share, 1e-3)


def train(class_weights, scenes, held_out, steps, seed):
    """Train a small U-Net from a seed's start; gives its scores on the way and last prediction."""
    network = UNet(3, 2, base_channels=8, depth=3, norm="batch", seed=seed)
    standardization = Standardization.fit(scenes.images)
    replicas, cross_entropy = Replicas(network), CrossEntropy(class_weights)
    optimizer = operations.Adam(network.parameters(), 2e-3)
    images_to_judge = standardization.transform(np.stack(held_out.images))
    batches = random_batches(scenes, standardization, crop_size=64, seed=seed)
    curve = []
    numbers = range(1, steps + 1)
    for step, _ in training_steps(numbers, batches, replicas, optimizer, cross_entropy):
        if step % max(1, steps // 6) == 0 or step == steps:
            prediction = to_host(replicas.logits(images_to_judge)).argmax(axis=-1)
            curve.append((step, *score(prediction, held_out)))
    return curve, prediction


def draw(path, curves, predictions, held_out):
    """Draw both measures step by step; below, a scene, its truth and the last predictions."""
    figure = pyplot.figure(figsize=(12, 8.5), dpi=130, layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    titles = ("accuracy, a line for each start", "IoU of buildings, a line for each start")
    for index, (axes, title) in enumerate(zip(upper.subplots(1, 2), titles, strict=True)):
        for name, (color, style), several in zip(NAMES, STYLES, curves, strict=True):
            for number, curve in enumerate(several):
                label = name if number == 0 else None
                steps, values = [point[0] for point in curve], [point[1 + index] for point in curve]
                look = {"linewidth": 2, "zorder": 3} if len(several) == 1 else {"linewidth": 1.5}
                axes.plot(steps, values, style, color=color / 255, label=label, **look)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set(ylim=(-0.03, 1.03), xlabel="step")
        axes.set_title(title, loc="left")
    axes.legend(frameon=False)
    shown = int(np.argmax([mask.sum() for mask in held_out.masks]))
    panels = [held_out.images[shown], held_out.masks[shown]]
    panels += [prediction[shown] for prediction in predictions]
    titles = ("photograph", "truth", *NAMES)
    for axes, title, panel in zip(lower.subplots(1, 5), titles, panels, strict=True):
        axes.imshow(panel if panel.ndim == 3 else PALETTE[[5, 7]][panel])
        axes.set_axis_off()
        axes.set_title(title, fontsize=11)
    lower.supxlabel("black: building, blue: background; a held-out scene, the first start")
    figure.savefig(path, format="png")
    pyplot.close(figure)


def main(arguments=None):
    """Train twice, judge three, draw, and say what came out."""
    options = parse(arguments)
    scenes = paint_buildings(options.scenes, options.seed)
    held_out = paint_buildings(HELD_OUT, options.seed + 1)
    nothing = np.zeros_like(np.stack(held_out.masks))
    flat = score(nothing, held_out)
    plain, weighted = (
        [
            train(how, scenes, held_out, options.steps, options.seed + start)
            for start in range(options.starts)
        ]
        for how in (None, equal_voices(scenes))
    )
    curves = [[curve for curve, _ in several] for several in (plain, weighted)]
    always = [[(step, *flat) for step, *_ in curves[0][0]]]
    draw(options.out, [always, *curves], [nothing, plain[0][1], weighted[0][1]], held_out)
    for name, several in zip(NAMES, [always, *curves], strict=True):
        print(f"{name}, at the end of each start:")
        print("  accuracy         ", *(f"{curve[-1][1]:.3f}" for curve in several))
        print("  IoU of buildings ", *(f"{curve[-1][2]:.3f}" for curve in several))
    print(f"The picture: {options.out}")
    ends = [np.array([curve[-1][2] for curve in several]) for several in curves]
    stuck = [int((last < STUCK).sum()) for last in ends]
    print(
        f"You should have seen that always answering background is right for "
        f"{percent(flat[0], 1)} of the pixels and finds no building; of "
        f"{options.starts} starts {stuck[0]} were stuck at "
        f"that after {options.steps} steps without class weights and {stuck[1]} with them, "
        f"while the best IoU of buildings is {ends[0].max():.2f} without "
        f"and {ends[1].max():.2f} with them."
    )


def parse(arguments):
    """Read the command line, and choose the device."""
    parser = demo_parser(__doc__, "imbalance.png")
    parser.add_argument("--steps", type=int, default=60, help="steps of each training (60)")
    parser.add_argument("--starts", type=int, default=6, help="random starts (6)")
    parser.add_argument("--scenes", type=int, default=40, help="scenes to learn from (40)")
    options = parser.parse_args(arguments)
    if min(options.steps, options.scenes, options.starts) < 1 or options.seed < 0:
        parser.error("--steps, --scenes and --starts must be 1 or more, --seed 0 or more")
    return prepare(parser, options)


if __name__ == "__main__":
    main()
