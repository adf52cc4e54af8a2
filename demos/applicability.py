"""Where can a map be trusted? The area of applicability of a network, drawn.

A network answers everywhere, even where it has seen nothing alike, and its answers look no less
tidy there. This demo trains a U-Net on painted scenes and shows it what it knows and what it does
not: a new scene, the same one in autumn, from twice as high, and blurred. For each it draws which
pixels look to the network like those it was trained on, and where it errs.

    python demos/applicability.py                 # some minutes
    python demos/applicability.py mine.png        # your own RGB images besides
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from parts.command_line import demo_parser, percent, prepare
from PIL import Image, ImageFilter

from tinyunet.atomic_io import save_picture
from tinyunet.data.images import read_image
from tinyunet.data.scenes import CLASSES, paint_scene, paint_scenes
from tinyunet.errors import UserError
from tinyunet.inference.applicability import mark_applicability, sample_features
from tinyunet.inference.sliding_window import predict_classes
from tinyunet.plots.pictures import draw_grid, marked
from tinyunet.progress import tqdm
from tinyunet.training.config import TrainingConfig
from tinyunet.training.setup import Training, new_model


def train(options):
    """Train a network on painted scenes, and keep how their pixels look to it."""
    scenes = paint_scenes(options.scenes, seed=options.seed)
    config = TrainingConfig(
        *("", "", ""), steps=options.steps, crop_size=96, depth=3, class_names=list(CLASSES)
    )
    model = new_model(config, scenes, scenes)
    steps = Training(config, model, scenes).steps(0, options.steps)
    for _ in tqdm(steps, "training", total=options.steps):
        pass
    model.training_features = sample_features(model, scenes, options.seed)
    return model


def places(seed):
    """Give what the network is shown: titles with an image and its truth."""
    image, mask = paint_scene((256, 256), seed=seed)
    photograph = Image.fromarray(image)
    yield "a new scene", image, mask
    yield "in autumn", image[:, :, [1, 0, 2]], mask  # what was green is red
    small = photograph.resize((128, 128), Image.Resampling.BOX)
    yield "from twice as high", np.array(small), mask[::2, ::2]
    yield "blurred", np.array(photograph.filter(ImageFilter.GaussianBlur(3))), mask


class Look(NamedTuple):
    """What the network finds in an image.

    Attributes
    ----------
    title : str
    image : array (H, W, 3)
    outside : array (H, W) of bools
        Which pixels lie outside of the area of applicability.
    wrong : array (H, W) of bools, or None
        Where the map errs, if the truth is known.
    """

    title: str
    image: np.ndarray
    outside: np.ndarray
    wrong: np.ndarray | None


def look(model, title, image, truth):
    """Find which pixels of an image look strange to the network, and where it errs."""
    outside = mark_applicability(model, image) == 0
    wrong = None if truth is None else predict_classes(model, image) != truth
    return Look(title, image, outside, wrong)


def share(pixels):
    """Write which share of some pixels is true."""
    return percent(pixels.mean() if pixels.size else 0)


def draw(looks):
    """Lay out the images, a row each: the image, what lies outside of it, what is wrong."""
    rows = []
    for title, image, outside, wrong in looks:
        row = [(title, image), (f"{share(outside)} outside (red)", marked(image, outside))]
        if wrong is not None:
            row.append((f"{share(wrong)} wrong (red)", marked(image, wrong)))
        rows.append(row)
    return draw_grid(rows)


def main(arguments=None):
    """Train, look at each place, draw; returns what was found."""
    parser = demo_parser(__doc__, "applicability.png")
    parser.add_argument("images", nargs="*", type=Path, help="RGB images of your own")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--scenes", type=int, default=40)
    options = prepare(parser, parser.parse_args(arguments))
    try:
        shown = [*places(options.seed + 1000)]
        shown += [(path.name, read_image(path), None) for path in options.images]
        model = train(options)
        looks = [look(model, *place) for place in shown]
        save_picture(draw(looks), options.out)
    except UserError as error:
        parser.error(str(error))
    known = [found for found in looks if found.wrong is not None]
    for title, _, outside, wrong in known:
        print(f"{title}: {share(outside)} lies outside the area of applicability; ", end="")
        print(f"{share(wrong[~outside])} is wrong inside, {share(wrong[outside])} outside")
    print(f"The picture: {options.out}")
    new, *strange = known
    outside, wrong = (np.concatenate([each[k].ravel() for each in strange]) for k in (2, 3))
    print(
        f"You should have seen that {share(new.outside)} of a new scene lies outside, and "
        f"{share(outside)} of what the network does not know; there {share(wrong)} is wrong, "
        f"not {share(new.wrong)}."
    )
    return looks


if __name__ == "__main__":
    main()
