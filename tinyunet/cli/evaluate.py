"""``tinyunet evaluate``: how good a model is, where the truth is known."""

from json import dumps
from typing import Annotated, Literal

from tinyunet.atomic_io import make_folder, save_picture, save_text
from tinyunet.backend import use_device
from tinyunet.checkpoint import load_model
from tinyunet.data.dataset import load_pairs, meaning_of
from tinyunet.data.pairing import find_pairs
from tinyunet.inference.evaluation import evaluate
from tinyunet.plots.pictures import draw_calibration, draw_confusion
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
        Also draw the confusion matrix and the calibration.
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
    scores = evaluate(model, dataset, objects=objects, **windows)
    if json:
        text = dumps(scores.as_json(model.class_names), indent=2, allow_nan=False)
        save_text(text + "\n", json)
    print(scores.table(model.class_names))
    if folder:
        save_picture(draw_confusion(scores, model.class_names), folder / "confusion.png")
        save_picture(draw_calibration(scores), folder / "calibration.png")
        print(f"\nIn {out}: confusion.png and calibration.png.")
