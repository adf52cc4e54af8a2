"""Where can a map be trusted? The area of applicability of a network, drawn.

A network answers everywhere, even where it has seen nothing alike, and its answers look no less
tidy there. This demo trains a U-Net on painted scenes and shows it what it knows and what it does
not: a new scene, the same one in autumn, from twice as high, and blurred. For each it draws which
pixels look to the network like those it was trained on, and where it errs.

    python demos/applicability.py                 # some minutes
    python demos/applicability.py mine.png        # your own RGB images besides
"""

from pathlib import Path

import numpy as np
from parts.command_line import demo_parser, prepare
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


def main(arguments=None):
    """Train, look at each place, draw; returns the shares outside and the errors."""
    parser = demo_parser(__doc__, "applicability.png")
    parser.add_argument("images", nargs="*", type=Path, help="RGB images of your own")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--scenes", type=int, default=40)
    options = prepare(parser, parser.parse_args(arguments))
    try:
        shown = [*places(options.seed + 1000)]
        shown += [(path.name, read_image(path), None) for path in options.images]
        model = train(options)
        rows, found = [], []
        for title, image, truth in shown:
            marks = mark_applicability(model, image)
            share = (marks == 0).mean()
            row = [
                (title, image),
                (f"{100 * share:.0f} % outside (red)", marked(image, marks == 0)),
            ]
            if truth is not None:
                wrong = predict_classes(model, image) != truth
                errors = [
                    100 * wrong[marks == k].mean() if (marks == k).any() else 0 for k in (1, 0)
                ]
                found.append((100 * share, 100 * wrong.mean(), *errors))
                row.append((f"{100 * wrong.mean():.0f} % wrong (red)", marked(image, wrong)))
                print(
                    f"{title}: {100 * share:.0f} % lies outside the area of applicability; ", end=""
                )
                print(f"{errors[0]:.0f} % is wrong inside, {errors[1]:.0f} % outside")
            rows.append(row)
        save_picture(draw_grid(rows), options.out)
    except UserError as error:
        parser.error(str(error))
    print(f"The picture: {options.out}")
    new, *strange = found
    shares, errors = (np.mean([each[k] for each in strange]) for k in (0, 1))
    print(
        f"You should have seen that {new[0]:.0f} % of a new scene lies outside, and {shares:.0f} % "
        f"of what the network does not know; there {errors:.0f} % is wrong, not {new[1]:.0f} %."
    )
    return found


if __name__ == "__main__":
    main()
