"""``tinyunet evaluate``: how good a model is where the truth is known, and where not."""

import json

from tinyunet.atomic_io import make_folder, save_picture, save_text
from tinyunet.backend import use_device
from tinyunet.checkpoint import load_model
from tinyunet.cli.predict import window_options
from tinyunet.data.dataset import load_pairs, meaning_of
from tinyunet.data.images import filled
from tinyunet.data.pairing import find_pairs
from tinyunet.inference.evaluation import Scores, evaluate_each
from tinyunet.inference.sliding_window import predict_classes
from tinyunet.plots.pictures import draw_calibration, draw_confusion, draw_mistakes, worst_images


def run_evaluate(options) -> None:
    """Print the scores of a model on images with masks; leave them and pictures, if asked."""
    use_device(options.device)
    model = load_model(options.model)
    pairs = find_pairs(options.images, options.masks)
    table, image_format = meaning_of(model, options.alpha)
    dataset = load_pairs(pairs, table, image_format=image_format, alpha=options.alpha)
    if table.ignored:
        model.ignore_index = table.ignore_index
    keywords = window_options(options)
    results = evaluate_each(model, dataset, objects=options.objects, **keywords)
    scores = Scores.from_counts(results, model.ignore_index)
    if options.json:
        text = json.dumps(scores.as_json(model.class_names), indent=2, allow_nan=False)
        save_text(text + "\n", options.json)
    pictures = draw_errors(model, dataset, scores, results, keywords) if options.out else {}
    for name, picture in pictures.items():
        save_picture(picture, make_folder(options.out) / f"{name}.png")
    print(scores.table(model.class_names))
    if pictures:
        print(f"\nIn {options.out}: {', '.join(f'{name}.png' for name in pictures)}.")


def draw_errors(model, dataset, scores, results, keywords) -> dict:
    """Draw the confusion matrix, the calibration and, if any pixel is wrong, the worst images."""
    names = model.class_names, model.ignore_index
    pictures = {
        "confusion": draw_confusion(scores, *names),
        "calibration": draw_calibration(scores),
    }
    cases = []
    for index in worst_images([counts.confusion for counts in results]):
        image, valid = dataset.images[index][:, :], dataset.valid_of(index)
        prediction = predict_classes(model, image, valid=valid, **keywords)
        image = filled(image, None if valid is None else valid[:, :])
        cases.append((dataset.stems[index], image, dataset.masks[index][:, :], prediction))
    if cases:
        pictures["worst"] = draw_mistakes(cases, *names)
    return pictures
