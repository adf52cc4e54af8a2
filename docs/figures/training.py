"""Figures of the chapter on training."""

import functools

import numpy as np
from figure_style import (
    BLUE,
    BRIGHTNESS,
    FAINT,
    GREEN,
    INK,
    LEVEL,
    ORANGE,
    SIGNED,
    VERMILION,
    arrow,
    canvas,
    cells,
    frame,
    is_narrow,
    measured,
    panels,
    write,
)
from matplotlib.patches import Rectangle

from tinyunet.data.scenes import CLASSES, ROAD, paint_scene, paint_scenes
from tinyunet.distributed.replicas import Replicas
from tinyunet.nn.functional import conv2d, relu
from tinyunet.nn.layers import Parameter
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.optimizers import SGD, Adam
from tinyunet.nn.schedules import cosine
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.training.loop import random_batches, training_steps

SLOPES = np.array([1.0, 30.0])  # of the valley x^2 / 2 + 30 y^2 / 2: gentle along, steep across
START = (-9.0, 2.0)


def training_step(quick):
    """Show one whole step: forward, loss, backward, and what becomes of a kernel."""
    photo, mask = paint_scene((48, 48), seed=0)
    images, labels = photo[None] / np.float32(255) - np.float32(0.5), mask[None]
    network, cross_entropy = UNet(3, len(CLASSES), base_channels=8, depth=2, seed=0), CrossEntropy()
    optimizer = Adam(network.parameters())

    def forward_and_backward():
        logits = network(images)
        loss, backward = cross_entropy(logits, labels)
        network.zero_grad()
        dlogits = backward()
        network.backward(dlogits)
        return logits, float(loss), dlogits

    for _ in range(3 if quick else 40):
        forward_and_backward()
        optimizer.step()
    rate, kernel = 0.002, network.parameters()[0]
    optimizer = SGD(network.parameters(), lr=rate)
    logits, loss, dlogits = forward_and_backward()
    before, gradient = kernel.data.copy(), kernel.grad.copy()
    optimizer.step()
    loss_after = forward_and_backward()[1]
    u, v, c, f = np.unravel_index(abs(gradient).argmax(), gradient.shape)

    # Where everything is, (row, column), on a wide page and on a narrow one
    if is_narrow():
        figure, axes = canvas(16.2, 28.7)
        axes.letters = 1.0  # there is room
        images, logits_at, labels_at, dlogits_at = (1.9, 0.2), (1.9, 11.4), (8.2, 3.4), (14.8, 11.4)
        forth, loss_at, back, kernels, text = (
            (3, 6.4),
            (9.3, 11.8),
            (15.9, 6.4),
            (20.9, 1.2),
            (26.2, 0.2),
        )
        headings = (0.1, 13, 19.4)
        arrows = [
            ((6.4, 13.5), (9.1, 13.5)),
            ((10.3, 7.8), (10.3, 11.6)),
            ((11.5, 13.5), (13.6, 13.5)),
        ]
        arrows += [((18.1, 8.1), (20.4, 8.1))]
    else:
        figure, axes = canvas(26.6, 18.2)
        images, logits_at, labels_at, dlogits_at = (1.9, 0), (1.9, 11.6), (1.9, 21.6), (8.3, 11.6)
        forth, loss_at, back, kernels, text = (
            (3, 6.2),
            (3, 17.1),
            (9.4, 6.2),
            (14.3, 0.9),
            (15.3, 10.6),
        )
        headings = (0.1, 7.3, 12.8)
        arrows = [((4, 16.1), (4, 16.9)), ((4, 21.4), (4, 20.6)), ((11.5, 7.9), (13.6, 7.9))]
    limits = axes.axis()

    def picture(corner, pixels, title, **look):
        row, column = corner
        extent = (column, column + 4.2, row + 4.2, row)
        axes.imshow(pixels, extent=extent, interpolation="nearest", **look)
        write(axes, row - 0.6, column + 2.1, title)

    def box(corner, text):
        row, column = corner
        style = {"facecolor": LEVEL(0), "edgecolor": INK, "linewidth": 0.8}
        axes.add_patch(Rectangle((column, row), 3.4, 2, **style))
        write(axes, row + 1, column + 1.7, text, color="black")

    for row, heading in zip(headings, ("1  forward", "2  backward", "3  a step"), strict=True):
        write(axes, row, 0, heading, size=12, ha="left")
    picture(images, photo, "images")
    box(forth, "network")
    picture(logits_at, logits[0, :, :, ROAD], "logits: road", cmap=BRIGHTNESS)
    box(loss_at, f"loss {loss:.3f}")
    picture(labels_at, mask == ROAD, "labels: road", cmap=BRIGHTNESS)
    bound = abs(dlogits[0, :, :, ROAD]).max()
    look = {"cmap": SIGNED, "vmin": -bound, "vmax": bound}
    picture(dlogits_at, dlogits[0, :, :, ROAD], "dlogits: road", **look)
    box(back, "network")
    for (row, column), direction in ((forth, 1), (back, -1)):  # into a network and out of it
        for start, end in ((column - 1.7, column - 0.2), (column + 3.6, column + 5.1)):
            if direction > 0 or start > column:
                arrow(axes, *((row + 1, end) for end in (start, end)[::direction]))
    if not is_narrow():
        arrow(axes, (5.1, 18.8), (10.4, 16.1), connectionstyle="angle,angleA=90,angleB=0")
    for start, end in arrows:
        arrow(axes, start, end)
    top, left = kernels
    for column, numbers, title in (
        (left, before, "a kernel"),
        (left + 6, gradient, "its gradient"),
    ):
        sheet = numbers[:, :, c, f]
        cells(axes, sheet, at=(top, column), form="", low=-abs(sheet).max(), high=abs(sheet).max())
        frame(axes, top + u, column + v)
        write(axes, top + 2.9, column + 1, title)
    times = "\N{MINUS SIGN} \N{GREEK SMALL LETTER ETA} \N{MULTIPLICATION SIGN}"
    write(axes, top + 1, left + 4, times, size=12)
    step = f"{before[u, v, c, f]:.4f} - {rate} \N{MULTIPLICATION SIGN} {gradient[u, v, c, f]:.4f}"
    said = f"each weight moves a little,\n{step} = {kernel.data[u, v, c, f]:.4f},\n"
    said += f"and the loss on the same images is {loss_after:.3f}"
    said = said.replace("-", "\N{MINUS SIGN}")
    write(axes, *text, said, ha="left", linespacing=1.6)
    axes.axis(limits)
    numbers = {"loss": f"{loss:.3f}", "loss afterwards": f"{loss_after:.3f}"}
    numbers |= {"weight": f"{before[u, v, c, f]:.4f}"}
    numbers |= {"weight afterwards": f"{kernel.data[u, v, c, f]:.4f}"}
    return measured(figure, numbers)


def training_initialization(quick):
    """Follow the size of the activations through layers, for three spreads of the weights."""
    layers, channels = 20, 32
    figure, axes = panels(1, 1, height=3.0)
    spreads = ((4, "4 / fan_in", VERMILION, "s--"), (2, "2 / fan_in", BLUE, "o-"))
    for numerator, name, color, style in (*spreads, (1, "1 / fan_in", GREEN, "^:")):
        rng = np.random.default_rng(0)
        x, sizes = rng.normal(size=(1, 32, 32, channels)), [1.0]
        for _ in range(layers):
            weight = rng.normal(size=(3, 3, channels, channels))
            weight *= np.sqrt(numerator / (9 * channels))
            x, _ = relu(conv2d(x, weight, padding="same")[0])
            sizes.append(np.sqrt((x**2).mean()))
        axes[0].semilogy(sizes, style, color=color, markersize=4)
        axes[0].text(layers + 0.4, sizes[-1], name, color=INK, va="center")
    axes[0].set(xlabel="layers passed", ylabel="size of the activations")
    axes[0].set(xlim=(0, layers + (7 if is_narrow() else 4)), xticks=range(0, layers + 1, 5))
    return figure


def walk(optimizer_of, steps):
    """Go down the valley; gives the places, (steps + 1, 2)."""
    place = Parameter(np.array(START))
    optimizer, places = optimizer_of([place]), [START]
    for _ in range(steps):
        place.grad = SLOPES * place.data
        optimizer.step()
        places.append(tuple(place.data))
        optimizer.zero_grad()
    return np.array(places)


def training_valley(quick):
    """Draw the ways of three optimizers through a narrow valley, of 30 steps each."""
    ways = {
        "gradient descent": lambda p: SGD(p, lr=0.06),
        "with momentum 0.8": lambda p: SGD(p, lr=0.02, momentum=0.8),
        "Adam": lambda p: Adam(p, lr=0.6),
    }
    figure, axes = panels(3, 1, height=5.6, sharex=True)
    x, y = np.meshgrid(np.linspace(-10, 4, 200), np.linspace(-2.6, 2.6, 80))
    height = (SLOPES[0] * x**2 + SLOPES[1] * y**2) / 2
    colors = (VERMILION, BLUE, GREEN)
    for panel, (title, optimizer_of), color in zip(axes[:, 0], ways.items(), colors, strict=True):
        places = walk(optimizer_of, 30)
        panel.contour(x, y, height, levels=np.arange(1, 10) ** 2 * 1.5, colors=FAINT, linewidths=1)
        panel.plot(*places.T, "o-", color=color, markersize=3.5, linewidth=1.3)
        panel.plot(0, 0, "+", color=INK, markersize=12)
        panel.set_title(title, loc="left")
        panel.set(xlim=(-10, 4), ylim=(-2.6, 2.6))
        panel.grid(False)
    return figure


def training_schedule(quick):
    """Draw the learning rate of a run of 1000 steps with the usual settings."""
    schedule = cosine(1e-3, 1000, warmup_steps=1000 // 20)
    figure, axes = panels(1, 1, height=2.4)
    axes[0].plot([schedule(step) for step in range(1000)], color=BLUE)
    axes[0].set(xlabel="step", ylabel="learning rate", yticks=[0, 5e-4, 1e-3])
    return figure


def learn(scenes, held_out, steps, augment, norm="batch"):
    """Train a small U-Net; gives its training losses, and (step, loss) on held-out scenes."""
    network = UNet(3, len(CLASSES), base_channels=8, depth=3, norm=norm)
    standardization = Standardization.fit(scenes.images)
    replicas, cross_entropy = Replicas(network), CrossEntropy()
    optimizer, schedule = Adam(network.parameters()), cosine(4e-3, steps, steps // 20)
    images_to_judge = standardization.transform(np.stack(held_out.images))
    truth, losses, judged = np.stack(held_out.masks).astype("int32"), [], []
    batches = random_batches(scenes, standardization, crop_size=64, augmented=augment)
    for step, loss in training_steps(
        range(steps), batches, replicas, optimizer, cross_entropy, schedule=schedule
    ):
        losses.append(float(loss))
        if (step + 1) % 20 == 0 or step + 1 == steps:
            value, _ = cross_entropy(replicas.logits(images_to_judge), truth)
            judged.append((step + 1, float(value)))
    return losses, judged


@functools.cache
def runs(quick):
    """Train on one scene and on many; gives for each title what `learn` does."""
    steps = 3 if quick else 300
    many, held_out = paint_scenes(2 if quick else 40, (128, 128)), paint_scenes(4, (128, 128), 1)
    return {
        "one scene, no augmentation": learn(many.subset([0]), held_out, steps, False),
        f"{len(many)} scenes, augmented": learn(many, held_out, steps, True),
    }


def training_curves(quick):
    """Draw training and validation loss of a run on one scene, and of one on many."""
    figure, axes = panels(1, 2, height=2.6 if is_narrow() else 3.0, sharey=True)
    ends = []
    for panel, (title, (losses, judged)) in zip(axes, runs(quick).items(), strict=True):
        panel.plot(losses, color=BLUE, linewidth=1, label="training loss")
        panel.plot(
            *np.transpose(judged), "o--", color=ORANGE, markersize=4, label="validation loss"
        )
        panel.set(title=title, xlabel="step", ylim=(0, 2.6))
        ends.append((np.mean(losses[-20:]), judged[-1][1]))
    axes[1].legend()
    (learned, found), both = ends
    said = {
        "one scene, training": f"training loss falls to {learned:.1f}",
        "one scene, validation": f"ends at {found:.2f}",
        "many scenes": "to {:.1f} and {:.1f}".format(*both),
    }
    return measured(figure, said)


FIGURES = {
    "training_step": training_step,
    "training_initialization": training_initialization,
    "training_valley": training_valley,
    "training_schedule": training_schedule,
    "training_curves": training_curves,
}
