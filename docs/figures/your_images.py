"""Figures of the chapter on one's own images."""

import numpy as np
from figure_style import bare, interactive, is_narrow, measured, panels, percent
from matplotlib.patches import Patch

from tinyunet.data.scenes import CLASS_COLORS, CLASSES, paint_scene
from tinyunet.plots.colors import overlay

SIZE, SEED = (160, 160), 12


def draw(pictures, below=""):
    """Draw four pictures with their titles, a line below the last, and name the classes' colors."""
    figure, axes = panels(2, 2, height=5.8) if is_narrow() else panels(1, 4, height=2.9)
    for place, (title, picture) in zip(axes.ravel(), pictures.items(), strict=True):
        place.imshow(picture, interpolation="nearest")
        bare(place, title, below if title == list(pictures)[-1] else "")
    colors = CLASS_COLORS / 255
    handles = [Patch(color=c, label=name) for c, name in zip(colors, CLASSES, strict=True)]
    columns = 3 if is_narrow() else 5
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=10)
    return figure


def your_images_mask(quick):
    """Show an image, its mask as a viewer shows it, in colors, and shifted by a mistake."""
    photo, mask = paint_scene(SIZE, seed=SEED)
    shifted = np.roll(mask, (9, 9), axis=(0, 1))
    pictures = {
        "an image": photo,
        "its mask in a viewer": np.repeat(mask[..., None], 3, axis=2),
        "the two together": overlay(photo, mask, colors=CLASS_COLORS),
        "a shifted mask": overlay(photo, shifted, colors=CLASS_COLORS),
    }
    return draw(pictures)


def your_images_errors(quick):
    """Show an image, the truth, what a network makes of it, and where it is wrong."""
    network, standardization, _ = interactive("train_orchard").read()
    photo, mask = paint_scene(SIZE, seed=SEED)
    classes = network(standardization.transform(photo)[None])[0].argmax(axis=-1)
    wrong = classes != mask
    dim = np.repeat(photo.mean(axis=2, keepdims=True) / 2, 3, axis=2).astype(np.uint8)
    share = percent(wrong.mean(), 1)
    pictures = {
        "image": photo,
        "truth": CLASS_COLORS[mask],
        "prediction": CLASS_COLORS[classes],
        "wrong": np.where(wrong[..., None], np.uint8([255, 0, 200]), dim),
    }
    return measured(draw(pictures, f"{share} of the pixels"), {"wrong": share})


FIGURES = {"your_images_mask": your_images_mask, "your_images_errors": your_images_errors}
