"""Figures of the chapter on seeing structures: what a color tells, and what a neighborhood."""

import functools
import types

import numpy as np
from figure_style import (
    BLUE,
    INK,
    VERMILION,
    bare,
    demo,
    frame,
    interactive,
    is_narrow,
    measured,
    panels,
    percent,
)
from matplotlib.patches import Patch

from tinyunet.data.scenes import (
    CLASS_COLORS,
    CLASSES,
    FOREST,
    GRASS,
    MEADOW,
    ORCHARD,
    Land,
    draw_land,
    draw_tree,
    paint_scenes,
    photograph,
)
from tinyunet.nn.functional import conv2d

SIDES = (1, 3, 5, 9, 17, 33, 65, 97)  # of the neighborhood, in pixels


# --- The experiment: guess orchard meadow or meadow from what a grass pixel has around it --------


def grass_scenes(count, seed):
    """Paint scenes; gives photographs, labels, and where there is grass of the two meadows."""
    scenes = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        land = draw_land((192, 192), rng)
        grass = (land.material == GRASS) & np.isin(land.label, (ORCHARD, MEADOW))
        scenes.append((photograph(land, rng), land.label, grass))
    return scenes


def neighborhood(photo, side):
    """Give the mean and the deviation of the brightness in a square around each pixel."""
    brightness = photo.astype(np.float32).mean(axis=2) / 255
    column = np.full((side, 1, 1, 1), 1 / side, np.float32)

    def mean(values):
        values = np.pad(values, side // 2, mode="reflect")[None, :, :, None]
        values, _ = conv2d(values, column)
        values, _ = conv2d(values, column.transpose(1, 0, 2, 3))
        return values[0, :, :, 0]

    average = mean(brightness)
    return average, np.sqrt(np.maximum(mean(brightness**2) - average**2, 0))


def drawers(scenes, side):
    """Sort each grass pixel into a drawer: its color, and what its neighborhood is like."""
    numbers, labels = [], []
    for photo, label, grass in scenes:
        average, deviation = neighborhood(photo, side)
        number = photo // 32 @ (64, 8, 1)  # 8 steps of red, green, blue
        number = number * 32 + np.minimum(average * 32, 31).astype(int)
        number = number * 16 + np.minimum(deviation * 80, 15).astype(int)
        numbers.append(number[grass])
        labels.append(label[grass])
    return np.concatenate(numbers), np.concatenate(labels)


def best_guess(training, held_out, side):
    """Remember for each drawer which class is more common, and guess it on other scenes.

    Returns
    -------
    float
        The share of right guesses, averaged over the two classes: 0.5 is a coin.
    """
    numbers, labels = drawers(training, side)
    shares = []
    for label in (ORCHARD, MEADOW):
        counts = np.bincount(numbers[labels == label], minlength=8**3 * 32 * 16)
        shares.append(counts / counts.sum())
    guess = np.where(shares[0] > shares[1], ORCHARD, MEADOW)
    numbers, labels = drawers(held_out, side)
    right = guess[numbers] == labels
    return np.mean([right[labels == label].mean() for label in (ORCHARD, MEADOW)])


# --- The figures ---------------------------------------------------------------------------------


@functools.cache
def trained(quick):
    """Train the demo's three models once for all figures."""
    orchard_meadow = demo("orchard_meadow")
    options = types.SimpleNamespace(seed=0, threads=2, steps=2 if quick else 250)
    training = paint_scenes(2 if quick else 60, seed=0)
    held_out = paint_scenes(2 if quick else 12, seed=1)
    forest = orchard_meadow.train_forest(training, held_out, options)
    colors, unet = (
        orchard_meadow.train_network(name, network, crop, training, held_out, options)
        for name, network, crop in (
            ("color-only network", orchard_meadow.color_network(0), 48),
            ("U-Net", orchard_meadow.unet(0), 96),
        )
    )
    return held_out, (forest, colors, unet)


def seeing_structures_pixel(quick):
    """Show two grass pixels of one color, then more and more of what is around them."""
    photo, label, grass = grass_scenes(1, seed=4)[0]
    places = alike(photo, label, grass)
    sides = (1, 9, 33, 65)
    figure, axes = panels(2, 4, height=2.9 if is_narrow() else 4.4)
    for row, (name, (y, x)) in zip(axes, places.items(), strict=True):
        for place, side in zip(row, sides, strict=True):
            half = side // 2
            window = photo[y - half : y + half + 1, x - half : x + half + 1]
            place.imshow(window, interpolation="nearest")
            bare(place, f"{side} x {side}")
            if side > 1:
                frame(place, half, half, linewidth=1.5)
        row[0].set_ylabel(name)
    return figure


def alike(photo, label, grass):
    """Find two grass pixels of nearly one color, one of each class, with room around them."""
    room = np.zeros_like(grass)
    room[33:-33, 33:-33] = True
    first, second = (np.argwhere(grass & room & (label == which)) for which in (ORCHARD, MEADOW))
    first, second = first[::7], second[::7]
    color = photo.astype(int)
    apart = abs(color[tuple(first.T)][:, None] - color[tuple(second.T)][None]).sum(axis=2)
    # Of all pairs of one color, the one whose neighborhoods are most of their own class.
    own = [mean_of(label == which)[tuple(p.T)] for which, p in ((ORCHARD, first), (MEADOW, second))]
    score = own[0][:, None] + own[1][None] - apart
    one, other = np.unravel_index(score.argmax(), score.shape)
    return {"orchard meadow": first[one], "meadow": second[other]}


def mean_of(where, side=65):
    """Give the share of a class in the square around each pixel."""
    average, _ = neighborhood(255 * np.repeat(where[:, :, None], 3, axis=2), side)
    return average


@functools.cache
def right_guesses(quick):
    """Give the shares of right guesses: one a side of the neighborhood, and the U-Net's."""
    training = grass_scenes(4 if quick else 40, seed=0)
    held_out = grass_scenes(2 if quick else 12, seed=1)
    right = [best_guess(training, held_out, side) for side in SIDES]
    _, (_, _, unet) = trained(quick)
    photos, labels, grass = (np.stack(maps) for maps in zip(*held_out, strict=True))
    hits = unet.predict(photos) == labels
    return right, np.mean([hits[grass & (labels == which)].mean() for which in (ORCHARD, MEADOW)])


def seeing_structures_window(quick):
    """Draw how often a guess is right against the side of the neighborhood that it knows."""
    right, by_unet = right_guesses(quick)
    figure, (axes,) = panels(height=3.4)
    axes.plot(SIDES, right, "o-", color=BLUE)
    axes.axhline(by_unet, color=VERMILION)
    axes.axhline(0.5, color=INK, linestyle=":")
    axes.text(1, by_unet - 0.02, "the U-Net", va="top", color=INK)
    axes.text(97, 0.49, "a coin", va="top", ha="right", color=INK)
    axes.text(5.6, 0.6, "the best guess from color,\nmean and deviation", va="top", color=INK)
    axes.set_xscale("log")
    axes.set_xticks(SIDES, SIDES)
    axes.minorticks_off()
    axes.set(ylim=(0.42, 1.0), xlabel="side of the neighborhood that is known, in pixels")
    end = "\n" if is_narrow() else " "
    axes.set_title(f"orchard meadow or meadow:{end}share of right guesses", loc="left")
    best = int(np.argmax(right))
    return measured(
        figure,
        {
            "color alone": f"{right[0]:.2f}",
            "best": f"{right[best]:.2f}",
            "best side": f"{SIDES[best]} x {SIDES[best]}",
            "widest": f"{right[-1]:.2f}",
            "U-Net": f"{by_unet:.2f}",
        },
    )


def seeing_structures_models(quick):
    """Show a scene that nobody has learned from, the truth, and what three models make of it."""
    held_out, models = trained(quick)
    colors = demo("orchard_meadow").COLORS
    figure, axes = panels(1, 5, height=2.35)
    axes[0].imshow(held_out.images[0], interpolation="nearest")
    maps = [held_out.masks[0], *(model.predict(held_out.images[0][None])[0] for model in models)]
    for place, classes in zip(axes[1:], maps, strict=True):
        place.imshow(colors[classes], interpolation="nearest")
    titles = ["photograph", "truth", "random forest", "1 x 1 network", "U-Net"]
    for place, title in zip(axes, titles, strict=True):
        bare(place, title)
    handles = [Patch(color=color, label=name) for color, name in zip(colors, CLASSES, strict=True)]
    columns = 3 if is_narrow() else 5
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=10)
    return measured(figure, {model.name: f"{model.scores.mean_iou:.2f}" for model in models})


def meadow_with_trees(places, rng):
    """Paint a plain meadow of 96 x 96 pixels with trees at these places (y, x) from its middle."""
    y, x = np.mgrid[:96, :96].astype(np.float32) - 48
    whole = (np.full(y.shape, value, dtype) for value, dtype in ((MEADOW, "u1"), (GRASS, "u1")))
    land = Land(y, x, np.zeros(y.shape, "u2"), *whole, np.full(y.shape, 0.4, "f4"), 0 * y)
    for row, column in places:
        draw_tree(land, np.hypot(y - row, x - column), ORCHARD, rng)
    return photograph(land, rng)


def seeing_structures_trees(quick):
    """Show meadows with more and more trees, and what the small network of the page sees."""
    network, standardization, _ = interactive("train_orchard").read()
    rng = np.random.default_rng(5)
    planted = {}
    for side in (0, 1, 2, 3, 5):
        grid = (np.mgrid[:side, :side].reshape(2, -1).T - (side - 1) / 2) * 12.5
        planted[f"{side**2} tree{'s' * (side != 1)}"] = grid
    planted["90 crowded"] = rng.uniform(-28, 28, (90, 2))
    narrow = is_narrow()
    figure, axes = panels(4, 3, height=7) if narrow else panels(2, 6, height=3.3)
    pairs = [*zip(*axes[:2], strict=True), *(zip(*axes[2:], strict=True) if narrow else ())]
    shares = {}
    for (photo_place, map_place), (title, places) in zip(pairs, planted.items(), strict=True):
        photo = meadow_with_trees(places, rng)
        classes = network(standardization.transform(photo)[None])[0].argmax(axis=-1)
        which = FOREST if len(places) == 90 else ORCHARD
        share = percent((classes[24:72, 24:72] == which).mean())
        shares[title] = share
        photo_place.imshow(photo, interpolation="nearest")
        map_place.imshow(CLASS_COLORS[classes], interpolation="nearest")
        frame(map_place, 24, 24, 48, 48, color="black", linewidth=1, linestyle="--")
        bare(photo_place, title)
        bare(map_place, "", share)
    colors = CLASS_COLORS[:3] / 255
    handles = [Patch(color=c, label=name) for c, name in zip(colors, CLASSES[:3], strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=10)
    return measured(figure, shares)


FIGURES = {
    "seeing_structures_trees": seeing_structures_trees,
    "seeing_structures_pixel": seeing_structures_pixel,
    "seeing_structures_window": seeing_structures_window,
    "seeing_structures_models": seeing_structures_models,
}
