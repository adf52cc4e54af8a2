"""A training run: the loop, and care for the person who waits for it.

What makes the network learn is in `tinyunet.training.loop`. Here is everything around it: scores on
images that the network has not seen, checkpoints to resume from, advice
(`tinyunet.training.diagnostics`), and the folder that a run leaves behind, which holds

- ``model.npz``: the network as it was when its validation score was best; this is the one to use;
- ``last.npz``: the network and the optimizer at the last checkpoint, for ``--resume``;
- ``metrics.csv`` and ``curves.png``: loss and scores over the steps;
- ``threshold_curve.png``: of two classes, the mean IoU by the probability that is asked for;
- ``preview.png``: a few validation images, their truth and the prediction;
- ``config.json``: the settings; and ``classes.txt``, the class table.

All are written aside and renamed, so an image viewer can stay open on them. ``last.npz`` remembers
the metrics too, so whatever moment a run dies at, the folder and the run that goes on agree.

**The same seed gives the same run, and a run that was resumed equals one that was never
interrupted**, bit for bit, on the same machine with the same number of processes and threads. That
is easy to promise because no random generator is carried from step to step: whatever is random in
step *s* (the images, crops, flips) comes from a fresh ``random_generator(seed, s)``, so the number
of the step is all there is to remember.
"""

import contextlib
import csv
import io
import json
import math
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from tinyunet import __version__
from tinyunet.atomic_io import make_folder, save_picture, save_text, sole_writer
from tinyunet.backend import device_name, use_device, xp
from tinyunet.checkpoint import TrainingState, expect, load_model, load_training_state, save_model
from tinyunet.data.dataset import Dataset
from tinyunet.data.images import filled, plain
from tinyunet.errors import UserError, problems_named
from tinyunet.inference.applicability import sample_features
from tinyunet.inference.evaluation import Scores, evaluate
from tinyunet.inference.sliding_window import predict_classes
from tinyunet.plots.pictures import draw_grid, draw_threshold_curve, plot_curves
from tinyunet.progress import is_watched, tqdm
from tinyunet.training import diagnostics
from tinyunet.training.config import MAY_CHANGE, TrainingConfig
from tinyunet.training.setup import Training, load_datasets, new_model

LOG_INTERVAL = 10  # steps: the loss is fetched from the device, averaged and shown
PROGRESS = ("step", "history", "best_step", "best_mean_iou")  # what last.npz remembers
PREVIEWED = 4  # images


def train(
    config: TrainingConfig, datasets=None, progress: bool = True, communicator=None
) -> "Trainer":
    """Train a network and leave everything about it in the folder ``config.out``.

    Parameters
    ----------
    config : TrainingConfig
        The settings.
    datasets : (Dataset, Dataset), optional
        Training and validation images that are in memory already; the folders of the settings are
        not read then.
    progress : bool
        Show a progress bar.
    communicator : Communicator, optional
        The processes that share the work, from `tinyunet.distributed.mpi.find_communicator`. All
        of them call this function; only one writes files, validates and shows its progress.

    Returns
    -------
    Trainer
        The finished run: see its `model`, `history`, `best_step` and `best_mean_iou`.

    Raises
    ------
    UserError
        If the settings or the files don't fit, before anything is written; or if the loss is NaN or
        infinite, in which case the last good checkpoint stays.
    """
    config.check()
    use_device(config.device)
    is_main = communicator is None or communicator.is_main_process
    with sole_writer(config.out) if is_main else contextlib.nullcontext():
        state = state_to_resume(config)
        training, validation = datasets or load_datasets(config, state, progress and is_watched())
        trainer = Trainer(config, training, validation, state, communicator)
        trainer.run(progress)
        if is_main:  # add what `predict --applicability` compares an image with
            best = load_model(trainer.out / "model.npz")
            best.training_features = sample_features(best, training, config.seed, config.threads)
            save_model(trainer.out / "model.npz", best)
    return trainer


# -- Taking a run up again -------------------------------------------------------------------------


def last_state(out) -> tuple[TrainingState, TrainingConfig]:
    """Load the last checkpoint in the folder of a run, and the settings it was started with."""
    path = Path(out) / "last.npz"
    if not path.exists():
        raise UserError(f"no run to resume: there is no {path}; start one without --resume")
    state = load_training_state(path)
    with problems_named(path, "is no checkpoint of this version of tinyunet"):
        for row in [*state.progress["history"], state.progress | {"history": 0}]:
            values = [value for value in row.values() if value is not None]
            is_row = all(type(value) in (int, float) and value >= 0 for value in values)
            counts = row["step"], row.get("best_step", 0), int(row.get("seconds", 0))
            expect(is_row and all(type(count) is int for count in counts), "progress", row)
        config = TrainingConfig(**state.model.metadata["settings"])
        config.check()
    return state, config


def settings_to_resume(out, **changes) -> TrainingConfig:
    """Return the settings of the run in a folder, with some changed."""
    return replace(last_state(out)[1], out=str(out), resume=True, **changes)


def state_to_resume(config: TrainingConfig) -> TrainingState | None:
    """Load the state of the run in ``config.out``, if it is to be resumed and the settings fit it.

    Raises
    ------
    UserError
        If they don't, or a new run would overwrite another.
    """
    if not config.resume:
        if any((Path(config.out) / name).exists() for name in ("last.npz", "model.npz")):
            fault = f"{config.out} holds a run already"
            raise UserError(f"{fault}: --resume it, or choose another --out")
        return None
    state, stored = last_state(config.out)
    for name, value in asdict(config).items():
        if name not in MAY_CHANGE and str(value) != str(getattr(stored, name)):
            remedy = f"which cannot be changed to {value} when resuming: drop the option"
            raise UserError(f"the run in {config.out} has {name} {getattr(stored, name)}, {remedy}")
    return state


# -- The run ---------------------------------------------------------------------------------------


class Trainer(Training):
    """A run: a `Training`, and what has happened so far.

    Parameters
    ----------
    config : TrainingConfig
        The settings.
    training, validation : Dataset
        The images to learn from and those to be judged by.
    state : TrainingState, optional
        Where to go on; without it the run starts from the beginning.
    communicator : Communicator, optional
        The processes that share the work.

    Attributes
    ----------
    model : Model
        The network as it is now (the best one is in ``model.npz``).
    step : int
        How many steps are done.
    history : list of dict
        The rows of ``metrics.csv``.
    best_step : int
        The step at which ``model.npz`` was saved.
    best_mean_iou : float or None
        Its mean IoU on the validation images.

    Raises
    ------
    UserError
        If images, masks, crop and network don't fit together.
    """

    def __init__(
        self, config, training: Dataset, validation: Dataset, state=None, communicator=None
    ):
        model = state.model if state else new_model(config, training, validation)
        super().__init__(config, model, training, communicator)
        self.validation, self.out = validation, Path(config.out)
        self.find_classes(validation, "validation")
        self.step, self.history = 0, []
        self.best_step, self.best_mean_iou = 0, None
        self.losses = []  # since the last row; they stay on the device until it is written
        if state:
            model.metadata["settings"] = asdict(config)
            with problems_named(self.out / "last.npz", "is inconsistent"):
                self.optimizer.load_state_dict(state.optimizer)
            vars(self).update({name: state.progress[name] for name in PROGRESS})
        self.seconds_before = self.history[-1]["seconds"] if self.history else 0.0
        self.started = time.perf_counter()

    def run(self, progress: bool) -> None:
        """Go on until the last step, with a checkpoint now and then."""
        config, is_main = self.config, self.communicator.is_main_process
        self.communicator.wait()  # until all have looked at the folder, before one writes into it
        if is_main:
            self.prepare_folder()
        if self.has_stopped_improving():
            return
        watched = progress and is_main and is_watched()
        with tqdm(None, "training", config.steps, initial=self.step, disable=not watched) as bar:
            for step, loss in self.steps(self.step, config.steps):
                self.step = step + 1
                self.losses.append(loss)
                checkpoint = self.step % config.val_interval == 0 or self.step == config.steps
                if checkpoint or self.step % LOG_INTERVAL == 0:
                    self.log()
                    bar.set_postfix_str(self.progress_text(), refresh=False)
                if checkpoint and is_main:
                    self.checkpoint()
                    if progress and not watched:
                        pace = self.history[-1]["seconds"] / self.step
                        left = tqdm.format_interval(pace * (config.steps - self.step))
                        self.say(f"{self.progress_text()}, {left} left")
                bar.update()
                if checkpoint and self.has_stopped_improving():
                    break
        if is_main:
            self.say(diagnostics.advice_on_steps(self.history))

    def log(self) -> None:
        """Add a row to the history, with the mean loss since the last; stop if it is NaN."""
        losses = [float(loss) for loss in self.losses]  # here the device is waited for
        for number, loss in enumerate(losses, start=self.step - len(losses) + 1):
            self.check_loss(loss, f"in step {number} the loss was")
        self.losses = []
        seconds = round(self.seconds_before + time.perf_counter() - self.started, 2)
        row = {"step": self.step, "loss": sum(losses) / len(losses), "lr": self.optimizer.lr}
        self.history.append(row | {"seconds": seconds})

    def checkpoint(self) -> None:
        """Judge the network on the validation images, and bring the run's folder up to date."""
        scores = evaluate(self.model, self.validation, self.loss, threads=self.config.threads)
        self.check_loss(scores.loss, f"by step {self.step} the validation loss was")
        shown = ("loss", "mean_iou", "pixel_accuracy")
        self.history[-1] |= {f"val_{name}": getattr(scores, name) for name in shown}
        of_classes = zip(self.model.class_names, scores.iou, strict=True)
        self.history[-1] |= {f"iou {name}": iou for name, iou in of_classes}
        if self.best_step == 0 or (scores.mean_iou or 0) > (self.best_mean_iou or 0):
            self.best_step, self.best_mean_iou = self.step, scores.mean_iou
            self.save_best(scores)
        self.save_state()
        self.write_reports()

    # -- Whether to go on -----------------------------------------------------------------

    def check_loss(self, loss: float, what: str) -> None:
        """Give up, in words, if a loss is no number; the files of the last checkpoint stay."""
        if not math.isfinite(loss):
            raise UserError(
                f"{what} {loss}, so training stops; {self.out} keeps the last checkpoint. Start a "
                f"new run with a smaller learning rate than {self.config.lr:g}"
            )

    def has_stopped_improving(self) -> bool:
        """Wait for all processes; tell whether the last validations were all no better."""
        self.communicator.wait()  # for the main process, which alone knows the scores
        patience, is_main = self.config.patience, self.communicator.is_main_process
        count = (self.step - self.best_step) // self.config.val_interval
        enough = patience is not None and is_main and count >= patience
        if enough:
            self.say(f"no better score in {count} validations, so training stops early")
        votes = xp.asarray([float(enough)])
        self.communicator.sum_in_place(votes)
        return bool(votes[0])

    # -- What the person hears ------------------------------------------------------------

    def say(self, text: str | None) -> None:
        """Tell the person who waits something, beside the progress bar."""
        if text:
            tqdm.write(f"step {self.step} of {self.config.steps}: {text}", file=sys.stderr)

    def progress_text(self) -> str:
        """Say in a few words how it goes, for the progress bar."""
        latest = {name: value for row in self.history for name, value in row.items()}
        scored = f", val mean IoU {latest.get('val_mean_iou') or 0:.3f}"
        return f"loss {latest['loss']:.3f}" + scored * ("val_mean_iou" in latest)

    # -- What is kept of it ---------------------------------------------------------------

    def prepare_folder(self) -> None:
        """Make the run's folder, or bring that of an earlier run up to date."""
        table = self.model.metadata.get("class_table")
        sizes = {"training_images": len(self.training), "validation_images": len(self.validation)}
        settings = asdict(self.config) | sizes | {"tinyunet": __version__, "device": device_name()}
        text = json.dumps(settings, indent=2, default=str) + "\n"
        save_text(text, make_folder(self.out) / "config.json")
        if table:
            save_text(table + "\n", self.out / "classes.txt")
        if self.step == 0:
            if table:
                lines = [f"\n  {plain(line)}" for line in table.splitlines()]
                tqdm.write(f"what the masks store for each class:{''.join(lines)}", file=sys.stderr)
            self.save_state()  # from here on there is something to resume
        else:  # the earlier run may have died just before
            self.write_reports()

    def save_state(self) -> None:
        """Save all that `--resume` needs."""
        progress = {name: getattr(self, name) for name in PROGRESS}
        save_model(self.out / "last.npz", self.model, self.optimizer, progress)

    def save_best(self, scores: Scores) -> None:
        """Save the network as the best so far."""
        found = {"step": self.step, "validation": scores.as_json(self.model.class_names)}
        metadata, threshold = self.model.metadata | found, scores.best_threshold
        best = replace(self.model, metadata=metadata, threshold=threshold)
        save_model(self.out / "model.npz", best)
        if threshold is not None:
            picture = draw_threshold_curve(scores, self.model.class_names[1])
            save_picture(picture, self.out / "threshold_curve.png")

    def write_reports(self) -> None:
        """Write metrics.csv, and draw curves.png and preview.png."""
        save_text(metrics_csv(self.history), self.out / "metrics.csv")
        plot_curves(self.history, self.out / "curves.png")
        # The preview: images spread over the validation set, their truth, the prediction.
        rows = []
        for index in np.unique(np.linspace(0, len(self.validation) - 1, PREVIEWED).astype(int)):
            image, mask, valid = self.validation.pair(index)
            found = predict_classes(self.model, image, valid=valid, threads=self.config.threads)
            image = filled(image, valid)
            rows.append([("image", image), ("truth", mask), ("prediction", found)])
        picture = draw_grid(rows, self.model.class_names, self.model.ignore_index)
        save_picture(picture, self.out / "preview.png")


def metrics_csv(history: list[dict]) -> str:
    """Write the history as CSV; what was not measured at a step is empty."""
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in history for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
