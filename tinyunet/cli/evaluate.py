"""``tinyunet evaluate``: how good a model is where the truth is known, and where not."""

import json

from tinyunet.atomic_io import make_folder, save_picture, save_text
from tinyunet.backend import use_device
from tinyunet.checkpoint import load_model
from tinyunet.cli.terminal import on_terminal
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
    results = evaluate_each(
        model,
        dataset,
        tile=options.tile,
        margin=options.margin,
        threads=options.threads,
        tta=options.tta,
        objects=options.objects,
        progress=on_terminal(),
    )
    confusions = [counts.confusion for counts in results]
    scores = Scores.from_counts(results, model.ignore_index)
    if options.json:
        text = json.dumps(scores.as_json(model.class_names), indent=2, allow_nan=False)
        save_text(text + "\n", options.json)
    drawn = draw_errors(model, dataset, scores, confusions, options) if options.out else []
    print(scores.table(model.class_names))
    if drawn:
        print(f"\nIn {options.out}: {', '.join(drawn)}.")


def draw_errors(model, dataset, scores, confusions, options) -> list[str]:
    """Draw the confusion matrix and, if any pixel is wrong, the worst images; returns the names."""
    out = make_folder(options.out)
    picture = draw_confusion(scores, model.class_names, model.ignore_index)
    save_picture(picture, out / "confusion.png")
    names = ("tile", "margin", "batch_size", "threads", "tta")
    window_options = {name: getattr(options, name) for name in names}
    save_picture(draw_calibration(scores), out / "calibration.png")
    cases = []
    for index in worst_images(confusions):
        image, truth = dataset.images[index][:, :], dataset.masks[index][:, :]
        valid = dataset.valid_of(index)
        prediction = predict_classes(model, image, valid=valid, **window_options)
        image = filled(image, None if valid is None else valid[:, :])
        cases.append((dataset.stems[index], image, truth, prediction))
    if not cases:
        return ["confusion.png", "calibration.png"]
    picture = draw_mistakes(cases, model.class_names, model.ignore_index)
    save_picture(picture, out / "worst.png")
    return ["confusion.png", "calibration.png", "worst.png"]
