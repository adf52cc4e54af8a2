"""Every augmentation at a glance: what the network sees instead of the image it was given.

Makes a contact sheet: an image with its mask, and next to it flips, quarter turns, another light,
the elastic bend of the U-Net paper, a random crop, and all of them together, as in training.

    python demos/augmentation.py                                  # on a painted scene
    python demos/augmentation.py --image north.jpg --mask north.png
"""

from pathlib import Path

import numpy as np
from parts.command_line import demo_parser, percent, prepare

from tinyunet.atomic_io import save_picture
from tinyunet.backend import random_generator
from tinyunet.data.augmentation import (
    augment,
    elastic_deformation,
    random_brightness_contrast,
    random_flip,
    random_rot90,
    random_window,
)
from tinyunet.data.dataset import load_pairs
from tinyunet.data.pairing import Pair
from tinyunet.data.scenes import CLASS_COLORS, CLASSES, paint_scene
from tinyunet.errors import UserError
from tinyunet.nn.standardization import Standardization
from tinyunet.plots.colors import PALETTE, as_rgb
from tinyunet.plots.pictures import draw_grid


def variants(image, mask, crop, rng):
    """Yield (title, image, mask) of every augmentation; images are float, standardized."""

    def different(augment):
        """Draw until something has changed: half of all flips leave the image as it is."""
        for _ in range(100):
            changed, its_mask = augment(image, mask, rng)
            if changed.shape != image.shape or not np.array_equal(changed, image):
                break
        return changed, its_mask

    yield "as it is", image, mask
    yield "flip", *different(random_flip)
    yield "quarter turn", *different(random_rot90)
    yield "another light", random_brightness_contrast(image, rng), mask
    yield "elastic bend", *elastic_deformation(image, mask, rng)
    window = random_window(image, crop, rng)
    cropped = image[window], mask[window]
    yield f"all, and a crop of {crop}", *augment(*cropped, rng, elastic=True)


def with_lattice(image, lines=8):
    """Draw a lattice of light lines over an image, so that a bend can be seen."""
    image = image.copy()
    for axis in (0, 1):
        gap = max(2, image.shape[axis] // lines)
        line = [slice(None)] * 3
        line[axis] = slice(gap // 2, None, gap)
        image[tuple(line)] = image[tuple(line)] // 4 + 191
    return image


def describe(panels):
    """Say what the variants have done to the first panel's image and mask, in numbers."""
    panels = {title: (image.astype(int), mask) for title, image, mask in panels}
    image, mask = panels["as it is"]
    moved = [
        abs(
            np.bincount(panels[title][1].ravel(), minlength=256)
            - np.bincount(mask.ravel(), minlength=256)
        ).sum()
        for title in ("flip", "quarter turn")
    ]
    light = abs(panels["another light"][0] - image).mean()
    bent = (panels["elastic bend"][1] != mask).mean()
    return (
        f"You should have seen image and mask change together: a flip and a quarter turn take "
        f"{max(moved)} pixels from their classes, another light shifts the numbers by {light:.0f} "
        f"of 255 and leaves the mask alone, a bend puts another class on {percent(bent)} of the "
        f"pixels."
    )


def main(arguments=None):
    """Draw the contact sheet, and say what is to be seen."""
    options, image, mask, names = parse(arguments)
    standardization = Standardization.fit([image])
    mean, std = (np.asarray(array) for array in (standardization.mean, standardization.std))
    panels = []
    rng = random_generator(options.seed)
    crop = min(options.crop_size, *mask.shape)
    lined = standardization.transform(with_lattice(image))
    for title, changed, its_mask in variants(lined, mask, crop, rng):
        # Back to the numbers of the picture, so that its light can be compared.
        visible = np.rint(changed * std + mean).clip(0, 255).astype(np.uint8)
        panels.append((title, visible, its_mask))
    cells = [[(title, image), ("with its mask", image, mask)] for title, image, mask in panels]
    rows = [first + second for first, second in zip(cells[::2], cells[1::2], strict=True)]
    colors = CLASS_COLORS if options.image is None else PALETTE
    save_picture(draw_grid(rows, names, options.ignore_index, colors=colors), options.out)
    print(f"The picture: {options.out}")
    print(describe(panels))


def parse(arguments):
    """Read the command line and the image; returns options, image, mask, class names."""
    parser = demo_parser(__doc__, "augmentation.png")
    parser.add_argument("--image", type=Path, help="an image; without it, a scene is painted")
    parser.add_argument("--mask", type=Path, help="its mask, of class indices")
    parser.add_argument("--ignore-index", type=int, help="mask value of pixels that don't count")
    parser.add_argument("--crop-size", type=int, default=128, help="side of a crop in pixels (128)")
    options = parser.parse_args(arguments)
    if (options.image is None) != (options.mask is None):
        parser.error("--image and --mask go together: give both or neither")
    if options.crop_size < 1 or options.seed < 0:
        parser.error("--crop-size must be 1 or more, --seed 0 or more")
    prepare(parser, options)
    try:
        if options.image is None:
            return options, *paint_scene((256, 256), seed=options.seed), CLASSES
        pair = Pair(options.image.stem, options.image, options.mask)
        dataset = load_pairs([pair], ignore=options.ignore_index)
    except (UserError, OSError) as problem:
        parser.error(str(problem))
    image, mask = as_rgb(dataset.images[0]), dataset.masks[0]
    options.ignore_index = dataset.table.ignore_index
    return options, image, mask, dataset.table.names


if __name__ == "__main__":
    main()
