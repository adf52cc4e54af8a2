"""A random forest that sees one pixel's color, beside a U-Net, on your own images.

The unit before this one classified pixels by their colors, one by one. Here is how far that gets
on your images, and how far a network gets that sees the neighborhood: the same test images, the
same scores, one picture.

    python demos/random_forest.py images masks --test-images T --test-masks M --model run/model.npz
"""

import numpy as np
from parts.command_line import demo_parser, prepare
from sklearn.ensemble import RandomForestClassifier

from tinyunet.atomic_io import save_picture
from tinyunet.backend import random_generator
from tinyunet.checkpoint import load_model
from tinyunet.data.dataset import load_pairs, meaning_of
from tinyunet.data.images import filled
from tinyunet.data.pairing import find_pairs
from tinyunet.data.splits import spatial_split
from tinyunet.errors import UserError
from tinyunet.inference.evaluation import Scores, confusion_matrix
from tinyunet.inference.sliding_window import predict_classes
from tinyunet.plots.pictures import draw_grid

PIXELS = 50_000  # that the forest learns from


def grow_forest(dataset, ignored, seed):
    """Grow a random forest on the colors of pixels drawn from all images."""
    colors, classes = [], []
    for image, mask in zip(dataset.images, dataset.masks, strict=True):
        counted = mask[:, :] != ignored
        colors.append(image[:, :][counted])
        classes.append(mask[:, :][counted])
    colors, classes = np.concatenate(colors), np.concatenate(classes)
    chosen = random_generator(seed).permutation(len(classes))[:PIXELS]
    forest = RandomForestClassifier(50, min_samples_leaf=10, n_jobs=-1, random_state=seed)
    return forest.fit(colors[chosen], classes[chosen])


def main(arguments=None):
    """Grow the forest, judge it and the model, draw both; returns their scores by name."""
    parser = demo_parser(__doc__, "random_forest.png")
    parser.add_argument("images", metavar="IMAGES", help="what the forest learns from")
    parser.add_argument("masks", metavar="MASKS")
    parser.add_argument("--test-images", help="what it is judged on (default: a block of IMAGES)")
    parser.add_argument("--test-masks")
    parser.add_argument("--model", help="a model of tinyunet, to be judged on the same")
    options = prepare(parser, parser.parse_args(arguments))
    if (options.test_images is None) != (options.test_masks is None):
        parser.error("--test-images and --test-masks: give both or neither")
    try:
        model = load_model(options.model) if options.model else None
        table, image_format = meaning_of(model) if model else (None, None)
        training = load_pairs(
            find_pairs(options.images, options.masks), table, image_format=image_format
        )
        if options.test_images is None:
            training, test = spatial_split(training, 0.3)
        else:
            pairs = find_pairs(options.test_images, options.test_masks)
            test = load_pairs(pairs, training.table, image_format=training.image_format)
    except UserError as error:
        parser.error(str(error))
    names, ignored = training.table.names, training.table.ignore_index
    forest = grow_forest(training, ignored, options.seed)

    def by_forest(image, valid):
        return forest.predict(image.reshape(-1, image.shape[2])).reshape(image.shape[:2])

    def by_network(image, valid):
        return predict_classes(model, image, valid=valid)

    ways = {"random forest": by_forest} | ({"U-Net": by_network} if model else {})
    confusions, rows = dict.fromkeys(ways, 0), []
    for index, (image, mask) in enumerate(zip(test.images, test.masks, strict=True)):
        image, mask, valid = image[:, :], mask[:, :], test.valid_of(index)
        found = {name: predict(image, valid) for name, predict in ways.items()}
        for name, classes in found.items():
            confusions[name] += confusion_matrix(mask, classes, len(names), ignored)
        rows.append([("image", filled(image, valid)), ("truth", mask), *found.items()])
    save_picture(draw_grid(rows[:4], names, ignored), options.out)
    print(f"The picture: {options.out}")
    scores = {name: Scores(table, ignored) for name, table in confusions.items()}
    for name, result in scores.items():
        print(f"\n{name}\n{result.table(names)}")
    told = ", ".join(f"{score.mean_iou or 0:.3f} of the {name}" for name, score in scores.items())
    print(f"\nYou should have seen a mean IoU of {told}, on images that neither has seen.")
    return scores


if __name__ == "__main__":
    main()
