"""An orchard is more than its colors: three ways to read an aerial photograph.

What makes a meadow an orchard meadow? Not its grass, not its trees, but how they stand together.
On painted scenes, in which grass, leaves and gray each belong to two classes, this demo trains

(a) a random forest that knows the color of one pixel,
(b) a neural network that knows the color of one pixel,
(c) a U-Net, which knows the neighborhood too,

and leaves one picture that shows how far each gets on scenes it has never seen.

    python demos/orchard_meadow.py        # about two minutes on two cores
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from parts.command_line import demo_parser, percent, prepare
from tqdm import tqdm

from tinyunet.backend import device_name, random_generator, to_host
from tinyunet.data.scenes import CLASS_COLORS, CLASSES, paint_scenes
from tinyunet.distributed.replicas import Replicas, available_cores
from tinyunet.inference.evaluation import Scores, confusion_matrix
from tinyunet.nn.layers import BatchNorm2d, Conv2d, ReLU, Sequential
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.schedules import cosine
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.plots.colors import PALETTE
from tinyunet.training.loop import random_batches, training_steps

try:
    import matplotlib
    from sklearn.ensemble import RandomForestClassifier

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
    from matplotlib.patches import Patch
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")

COLORS = CLASS_COLORS / 255
HELD_OUT = 12  # scenes that no model learns from
MODEL_COLORS = ("#c8c8c8", "#8a8a8a", PALETTE[0] / 255)


# --- The three models ------------------------------------------------------------------------


class Model(NamedTuple):
    """A trained model and how it did."""

    name: str
    predict: Callable  # from photographs (N, H, W, 3) to the class of each pixel (N, H, W)
    scores: Scores  # on the held-out scenes
    curve: list  # of (step, loss, mean IoU on the held-out scenes)


def train_forest(training, held_out, options):
    """Grow a random forest on the colors of 50,000 pixels."""
    colors = np.concatenate([image.reshape(-1, 3) for image in training.images])
    classes = np.concatenate([mask.ravel() for mask in training.masks])
    rng = random_generator(options.seed)
    chosen = rng.choice(len(classes), min(len(classes), 50_000), replace=False)
    forest = RandomForestClassifier(
        50, min_samples_leaf=10, n_jobs=options.threads, random_state=options.seed
    )
    forest.fit(colors[chosen], classes[chosen])

    def predict(images):
        return forest.predict(images.reshape(-1, 3)).reshape(images.shape[:-1])

    return Model("random forest", predict, score(predict, held_out), [])


def unet(seed):
    """Build a small U-Net: three times down to half the size, and up again."""
    return UNet(3, len(CLASSES), base_channels=12, depth=3, norm="batch", seed=seed)


def color_network(seed):
    """Build the same network with 1 x 1 kernels only: it sees one pixel at a time.

    Each 3 x 3 convolution of the U-Net becomes a 1 x 1 one of as many channels. Pooling and
    up-convolution are left out, because through them a pixel would see its neighbors after all.
    """
    rng = random_generator(seed)
    layers, channels = [], 3
    for layer in unet(seed).modules():
        if isinstance(layer, Conv2d) and layer.kernel_size == (3, 3):
            width = layer.weight.data.shape[3]
            layers += [Conv2d(channels, width, 1, bias=False, rng=rng), BatchNorm2d(width), ReLU()]
            channels = width
    return Sequential(*layers, Conv2d(channels, len(CLASSES), 1, rng=rng))


def train_network(name, network, crop, training, held_out, options):
    """Train a network on random crops of the scenes, watching its score on those held out."""
    standardization = Standardization.fit(training.images)
    replicas, cross_entropy = Replicas(network, options.threads), CrossEntropy()
    optimizer = operations.Adam(network.parameters())
    learning_rate = cosine(4e-3, options.steps, warmup_steps=options.steps // 20)

    def predict(images):
        return to_host(replicas.logits(standardization.transform(images))).argmax(axis=-1)

    curve, losses = [], []
    bar = tqdm(range(1, options.steps + 1), name, unit="step")
    batches = random_batches(training, standardization, crop_size=crop, seed=options.seed)
    for step, loss in training_steps(
        bar,
        batches,
        replicas,
        optimizer,
        cross_entropy,
        schedule=lambda step: learning_rate(step - 1),  # our steps count from 1
    ):
        losses.append(loss)
        if step % 25 == 0 or step == options.steps:
            scores = score(predict, held_out)
            curve.append((step, float(sum(losses) / len(losses)), scores.mean_iou))
            losses.clear()
            bar.set_postfix_str(f"loss {curve[-1][1]:.2f}, held-out mean IoU {scores.mean_iou:.2f}")
    return Model(name, predict, scores, curve)


def score(predict, scenes):
    """Predict all scenes and compare with their masks."""
    prediction = predict(np.stack(scenes.images))
    return Scores(confusion_matrix(scenes.masks, prediction, len(CLASSES)))


# --- The picture -----------------------------------------------------------------------------


def draw(path, scenes, models):
    """Show two scenes, the truth and the predictions; below them scores and learning curves."""
    pyplot.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure = pyplot.figure(figsize=(12, 8.4), dpi=150)
    upper = figure.add_gridspec(2, 5, left=0.01, right=0.99, bottom=0.375, top=0.935)
    upper.update(wspace=0.03, hspace=0.03)
    lower = figure.add_gridspec(1, 2, left=0.03, right=0.985, bottom=0.04, top=0.265)
    lower.update(wspace=0.1)
    lower.set_width_ratios((1.8, 1))
    draw_scenes(figure, upper, scenes, models)
    draw_scores(figure.add_subplot(lower[0]), models)
    draw_curves(figure.add_subplot(lower[1]), models)
    figure.savefig(path, format="png")
    pyplot.close(figure)


def draw_narrow(path, scenes, models):
    """Show one scene and what counts, in letters that can be read on a phone."""
    _, colors, network = models
    image = scenes.images[0]
    panels = {"photograph": image, "truth": COLORS[scenes.masks[0]]}
    for model in (colors, network):
        title = f"{model.name}\nmean IoU {model.scores.mean_iou:.2f}"
        panels[title] = COLORS[model.predict(image[None])[0]]
    figure, places = pyplot.subplots(2, 2, figsize=(5, 6.6), dpi=144, layout="constrained")
    for axes, (title, panel) in zip(places.ravel(), panels.items(), strict=True):
        axes.imshow(panel)
        axes.set_axis_off()
        axes.set_title(title, fontsize=15)
    patches = [Patch(color=c, label=name) for c, name in zip(COLORS, CLASSES, strict=True)]
    place = {"loc": "outside lower center", "ncols": 2, "frameon": False}
    figure.legend(handles=patches, fontsize=15, handlelength=1.2, handleheight=1.2, **place)
    figure.savefig(path, format="png")
    pyplot.close(figure)


def draw_scenes(figure, grid, scenes, models):
    """Draw one row a scene: the photograph, the truth, and what each model makes of it."""
    titles = ["photograph", "truth"]
    titles += [f"{model.name}\nmean IoU {model.scores.mean_iou:.2f}" for model in models]
    images = np.stack(scenes.images[:2])
    maps = [scenes.masks[:2]] + [model.predict(images) for model in models]
    columns = [images] + [COLORS[np.stack(classes)] for classes in maps]
    for column, (title, panels) in enumerate(zip(titles, columns, strict=True)):
        for row, panel in enumerate(panels):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(panel)
            axes.set_axis_off()
            axes.set_title(title if row == 0 else None, fontsize=12)
    patches = [Patch(color=c, label=name) for c, name in zip(COLORS, CLASSES, strict=True)]
    place = {"loc": "center", "bbox_to_anchor": (0.5, 0.345), "ncols": 5, "frameon": False}
    figure.legend(handles=patches, fontsize=12, handlelength=1.2, handleheight=1.2, **place)


def draw_scores(axes, models):
    """Draw the IoU of each class as bars, one a model, with the mean at the right."""
    places = np.array([0, 1, 2, 3, 4, 5.2])
    for model, color, aside in zip(models, MODEL_COLORS, (-0.28, 0, 0.28), strict=True):
        iou = [value or 0 for value in (*model.scores.iou, model.scores.mean_iou)]
        bars = axes.bar(places + aside, iou, 0.26, color=color, label=model.name)
        axes.bar_label(bars, fmt="%.2f", fontsize=9, padding=1)
    axes.set_xticks(places, [*CLASSES, "mean"])
    axes.tick_params(axis="x", length=0)
    finish(axes, "IoU on held-out scenes")


def draw_curves(axes, models):
    """Draw the networks' loss and their mean IoU on held-out scenes, step by step."""
    for model, color in zip(models, MODEL_COLORS, strict=True):
        if model.curve:
            steps, losses, iou = zip(*model.curve, strict=True)
            axes.plot(steps, iou, color=color, linewidth=2.5)
            axes.plot(steps, losses, color=color, linestyle=":", linewidth=2)
    axes.plot([], [], "k", linewidth=2.5, label="mean IoU")
    axes.plot([], [], "k:", linewidth=2, label="loss")
    axes.set_xlim(left=0)
    finish(axes, "Step by step")


def finish(axes, title):
    """Give both charts the same scale, and put title and legend above them."""
    axes.set(ylim=(0, 1.08), yticks=(0, 0.5, 1))
    axes.set_title(title, loc="left", fontsize=12, pad=8)
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 3, "frameon": False}
    axes.legend(**place)


# --- The story -------------------------------------------------------------------------------


def summarize(forest, colors, network):
    """Say in words what came out of the three models' scores: a table, and a sentence."""
    iou = np.array([[value or 0 for value in model.iou] for model in (forest, colors, network)])
    without = iou[:2].max(axis=0)  # the better of the two that know only the color
    helped = np.argmax(iou[2] - without)
    mistakes = network.confusion * (1 - np.eye(len(CLASSES), dtype=int))
    truth, taken_for = np.unravel_index(mistakes.argmax(), mistakes.shape)
    share = mistakes[truth, taken_for] / max(network.confusion[truth].sum(), 1)
    return (
        f"Mean IoU on scenes that no model has seen (1 is perfect):\n"
        f"  {forest.mean_iou:.2f}  random forest on the color of a pixel\n"
        f"  {colors.mean_iou:.2f}  network that sees the color of a pixel\n"
        f"  {network.mean_iou:.2f}  U-Net, which sees the neighborhood",
        f"You should have seen that color is not enough: the neighborhood helps most with "
        f"{CLASSES[helped]}, where the IoU is {iou[2, helped]:.2f}, and {without[helped]:.2f} "
        f"without it; the U-Net's commonest mistake is to take {percent(share, 1)} of "
        f"{CLASSES[truth]} for {CLASSES[taken_for]}.",
    )


def main(arguments=None):
    """Paint, train, compare, draw, and say what came out."""
    options = parse(arguments)
    start = time.perf_counter()
    print(f"painting {options.scenes} scenes to learn from and {HELD_OUT} to be judged on")
    training = paint_scenes(options.scenes, seed=options.seed)
    held_out = paint_scenes(HELD_OUT, seed=options.seed + 1)
    print("growing a random forest on the colors of pixels")
    models = [train_forest(training, held_out, options)]
    print(f"training two networks on the {device_name()}")
    for name, network, crop in (
        # To a network that sees single pixels, a larger crop is only more of the same.
        ("color-only network", color_network(options.seed), 48),
        ("U-Net", unet(options.seed), 96),
    ):
        models.append(train_network(name, network, crop, training, held_out, options))
    draw(options.out, held_out, models)
    if options.narrow:
        draw_narrow(options.narrow, held_out, models)
    table, sentence = summarize(*(model.scores for model in models))
    print(table)
    print(f"It took {time.perf_counter() - start:.0f} seconds. The picture: {options.out}")
    print(sentence)


def parse(arguments):
    """Read the command line, and choose the device."""
    parser = demo_parser(__doc__, "orchard_meadow.png")
    parser.add_argument("--narrow", type=Path, help="a second picture to write, for a phone")
    parser.add_argument("--steps", type=int, default=250, help="steps of training (250)")
    parser.add_argument("--scenes", type=int, default=60, help="scenes to learn from (60)")
    parser.add_argument("--threads", type=int, default=available_cores())
    options = parser.parse_args(arguments)
    if min(options.steps, options.scenes, options.threads) < 1 or options.seed < 0:
        parser.error("--steps, --scenes and --threads must be 1 or more, --seed 0 or more")
    return prepare(parser, options)


if __name__ == "__main__":
    main()
