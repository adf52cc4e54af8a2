"""The folder that a training run leaves behind, and how a run is taken up from it.

It holds

- ``model.npz``: the network as it was when its validation score was best; this is the one to use;
- ``last.npz``: the network and the optimizer at the last checkpoint, for ``--resume``;
- ``metrics.csv`` and ``curves.png``: loss and scores over the steps;
- ``threshold_curve.png``: of two classes, the mean IoU by the probability that is asked for;
- ``preview.png``: a few validation images, their truth and the prediction;
- ``config.json``: the settings.

All are written aside and renamed, so an image viewer can stay open on them. ``last.npz`` remembers
the metrics too, so whatever moment a run dies at, the folder and the run that goes on agree.
"""

import csv
import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from tinyunet import __version__
from tinyunet.atomic_io import make_folder, save_picture, save_text
from tinyunet.backend import device_name
from tinyunet.checkpoint import Model, TrainingState, expect, load_model, save_model
from tinyunet.checkpoint import load_training_state as load_state
from tinyunet.data.dataset import Dataset
from tinyunet.data.images import filled
from tinyunet.errors import UserError, problems_named
from tinyunet.inference.applicability import sample_features
from tinyunet.inference.evaluation import Scores
from tinyunet.inference.sliding_window import predict_classes
from tinyunet.plots.pictures import draw_grid, draw_threshold_curve, plot_curves
from tinyunet.training.config import MAY_CHANGE, TrainingConfig

PREVIEWED = 4  # images


# -- Taking a run up again -------------------------------------------------------------------------


def refuse_to_overwrite(out: Path) -> None:
    """Raise a UserError if a run is in this folder already."""
    if (out / "last.npz").exists() or (out / "model.npz").exists():
        raise UserError(f"{out} holds a run already: --resume it, or choose another --out")


def last_state(out) -> tuple[TrainingState, TrainingConfig]:
    """Load the last checkpoint in the folder of a run, and the settings it was started with."""
    path = Path(out) / "last.npz"
    if not path.exists():
        raise UserError(f"no run to resume: there is no {path}; start one without --resume")
    state = load_state(path)
    with problems_named(path, "is no checkpoint of this version of tinyunet"):
        progress = state.progress | {"seconds": 0}
        for row in [*progress.pop("history"), progress]:
            values = [value for value in row.values() if value is not None]
            is_row = all(type(value) in (int, float) and value >= 0 for value in values)
            is_row &= type(row["step"]) is int and row["seconds"] is not None
            expect(is_row and type(row.get("best_step", 0)) is int, "progress", row)
        config = TrainingConfig(**state.model.metadata["settings"])
        config.check()
    return state, config


def settings_to_resume(out, **changes) -> TrainingConfig:
    """Return the settings of the run in a folder, with some changed."""
    return replace(last_state(out)[1], out=str(out), resume=True, **changes)


def state_to_resume(config: TrainingConfig) -> TrainingState:
    """Load the state of the run in ``config.out`` and see that the settings fit it."""
    state, stored = last_state(config.out)
    for name, value in asdict(config).items():
        if name not in MAY_CHANGE and value != getattr(stored, name):
            remedy = f"which cannot be changed to {value} when resuming: drop the option"
            raise UserError(f"the run in {config.out} has {name} {getattr(stored, name)}, {remedy}")
    if config.steps < (done := state.progress["step"]):
        raise UserError(f"the run in {config.out} has done {done} steps already: --steps is less")
    return state


# -- Its files -------------------------------------------------------------------------------------


class RunFolder:
    """The folder of a run, and how each of its files is written.

    Parameters
    ----------
    config : TrainingConfig
        The settings; ``config.out`` is the folder.
    model : Model
        What is being trained.
    """

    def __init__(self, config: TrainingConfig, model: Model):
        self.config, self.model = config, model
        self.path = Path(config.out)

    def make(self, **facts) -> None:
        """Make the folder, with config.json: the settings, and what they came to here."""
        make_folder(self.path)
        settings = asdict(self.config) | {
            "tinyunet": __version__,
            "device": device_name(),
            "network": self.model.network.config,
            "class_names": self.model.class_names,
            **facts,
        }
        save_text(json.dumps(settings, indent=2) + "\n", self.path / "config.json")
        if "class_table" in self.model.metadata:
            save_text(self.model.metadata["class_table"] + "\n", self.path / "classes.txt")

    def save_best(self, step: int, scores: Scores) -> None:
        """Save the network as the best so far."""
        found = {"step": step, "validation": scores.as_json(self.model.class_names)}
        metadata, threshold = self.model.metadata | found, scores.best_threshold
        best = replace(self.model, metadata=metadata, threshold=threshold)
        save_model(self.path / "model.npz", best)
        if threshold is not None:
            picture = draw_threshold_curve(scores, self.model.class_names[1])
            save_picture(picture, self.path / "threshold_curve.png")

    def add_training_features(self, training: Dataset) -> None:
        """Add to the best network what `predict --applicability` compares an image with."""
        best = load_model(self.path / "model.npz")
        settings = self.config.seed, self.config.threads
        best.training_features = sample_features(best, training, *settings)
        save_model(self.path / "model.npz", best)

    def write_reports(self, history: list[dict], validation: Dataset) -> None:
        """Write metrics.csv, and draw curves.png and preview.png."""
        save_text(metrics_csv(history, self.model.class_names), self.path / "metrics.csv")
        plot_curves(history, self.path / "curves.png")
        # The preview: images spread over the validation set, their truth, the prediction.
        count = min(PREVIEWED, len(validation))
        examples = validation.subset(np.linspace(0, len(validation) - 1, count))
        rows = []
        for image, mask, valid in map(examples.pair, range(count)):
            options = {"valid": valid, "threads": self.config.threads}
            found = predict_classes(self.model, image, **options)
            panels = (filled(image, valid), mask, found)
            rows.append(list(zip(("image", "truth", "prediction"), panels, strict=True)))
        picture = draw_grid(rows, self.model.class_names, self.model.ignore_index)
        save_picture(picture, self.path / "preview.png")


def metrics_csv(history: list[dict], class_names) -> str:
    """Write the history as CSV; what was not measured at a step is empty."""
    columns = ["step", "loss", "lr", "val_loss", "val_mean_iou", "val_pixel_accuracy"]
    columns += [f"iou {name}" for name in class_names] + ["seconds"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
