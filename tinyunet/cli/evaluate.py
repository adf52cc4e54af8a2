"""``tinyunet evaluate``: how good a model is where the truth is known, and where not."""

from json import dumps
from typing import Annotated, Literal

import numpy as np

from tinyunet.atomic_io import make_folder, save_picture, save_text
from tinyunet.backend import use_device
from tinyunet.checkpoint import load_model
from tinyunet.data.dataset import load_pairs, meaning_of
from tinyunet.data.images import filled
from tinyunet.data.pairing import find_pairs
from tinyunet.inference.evaluation import Scores, add, evaluate_each
from tinyunet.inference.sliding_window import predict_classes
from tinyunet.plots.pictures import draw_calibration, draw_confusion, draw_grid, marked
from tinyunet.progress import is_watched

WORST = 6  # images that are drawn with their mistakes


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
    windows["progress"] = is_watched()
    model = load_model(model)
    table, image_format = meaning_of(model, alpha)
    dataset = load_pairs(find_pairs(images, masks), table, image_format=image_format, alpha=alpha)
    if table.ignored:
        model.ignore_index = table.ignore_index
    folder = make_folder(out) if out else None
    counts = evaluate_each(model, dataset, objects=objects, **windows)
    scores = Scores(add(counts), model.ignore_index)
    if json:
        text = dumps(scores.as_json(model.class_names), indent=2, allow_nan=False)
        save_text(text + "\n", json)
    print(scores.table(model.class_names))
    if folder:
        names, ignored = model.class_names, model.ignore_index
        confusions = [each["confusion"] for each in counts]
        wrong = [each.sum() - each.trace() for each in confusions]
        rows = []  # often one sees here that the mistake is in the mask
        for index in np.argsort(wrong)[::-1][:WORST]:
            image, mask, valid = dataset.pair(index)
            found = predict_classes(model, image, valid=valid, **windows)
            image = filled(image, valid)
            red = marked(image, (mask != found) & (mask != ignored))
            row = [(dataset.stems[index], image), ("truth", mask), ("prediction", found)]
            rows.append([*row, ("wrong (red)", red)])
        save_picture(draw_confusion(scores, names), folder / "confusion.png")
        save_picture(draw_calibration(scores), folder / "calibration.png")
        save_picture(draw_grid(rows, names, ignored), folder / "worst.png")
        print(f"\nIn {out}: confusion.png, calibration.png and worst.png.")
