"""``tinyunet evaluate``: how good a model is where the truth is known, and where not."""

from json import dumps
from typing import Annotated, Literal

from tinyunet.atomic_io import make_folder, save_picture, save_text
from tinyunet.backend import use_device
from tinyunet.checkpoint import load_model
from tinyunet.data.dataset import load_pairs, meaning_of
from tinyunet.data.images import filled
from tinyunet.data.pairing import find_pairs
from tinyunet.inference.evaluation import Scores, evaluate_each
from tinyunet.inference.sliding_window import predict_classes
from tinyunet.plots.pictures import draw_calibration, draw_confusion, draw_mistakes, worst_images
from tinyunet.progress import is_watched


def run_evaluate(
    model: str,
    images: str,
    masks: str,
    *,
    json: Annotated[str | None, "FILE"] = None,
    out: Annotated[str | None, "DIR"] = None,
    objects: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    alpha: str | None = None,
    **windows,
) -> None:
    """Compare a model's predictions with masks.

    Parameters
    ----------
    model : str
        The model file, such as RUN/model.npz.
    images : str
        Folder of the test images.
    masks : str
        Folder of the masks of the test images.
    json : str, optional
        Also write the scores as JSON.
    out : str, optional
        Also draw the confusion matrix, the calibration and the worst images.
    objects : bool
        Also count connected pieces: found, missed, merged, split, and false alarms.
    device : str
        Where to compute (default: auto, a GPU if there is one).
    **windows
        See `tinyunet.inference.sliding_window.sliding_window`.
    """
    use_device(device)
    keywords = windows | {"progress": is_watched()}
    model = load_model(model)
    pairs = find_pairs(images, masks)
    table, image_format = meaning_of(model, alpha)
    dataset = load_pairs(pairs, table, image_format=image_format, alpha=alpha)
    if table.ignored:
        model.ignore_index = table.ignore_index
    results = evaluate_each(model, dataset, objects=objects, **keywords)
    scores = Scores.from_counts(results, model.ignore_index)
    if json:
        text = dumps(scores.as_json(model.class_names), indent=2, allow_nan=False)
        save_text(text + "\n", json)
    pictures = draw_errors(model, dataset, scores, results, keywords) if out else {}
    for name, picture in pictures.items():
        save_picture(picture, make_folder(out) / f"{name}.png")
    print(scores.table(model.class_names))
    if pictures:
        print(f"\nIn {out}: {', '.join(f'{name}.png' for name in pictures)}.")


def draw_errors(model, dataset, scores, results, keywords) -> dict:
    """Draw the confusion matrix, the calibration and, if any pixel is wrong, the worst images."""
    names = model.class_names, model.ignore_index
    pictures = {
        "confusion": draw_confusion(scores, *names),
        "calibration": draw_calibration(scores),
    }
    cases = []
    for index in worst_images([counts.confusion for counts in results]):
        image, mask, valid = dataset.pair(index)
        prediction = predict_classes(model, image, valid=valid, **keywords)
        cases.append((dataset.stems[index], filled(image, valid), mask, prediction))
    if cases:
        pictures["worst"] = draw_mistakes(cases, *names)
    return pictures
