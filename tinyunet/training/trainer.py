"""A training run: the loop, and care for the person who waits for it.

What makes the network learn is in `tinyunet.training.loop`. Here is everything around it: scores on
images that the network has not seen, checkpoints to resume from, warnings. The settings are in
`tinyunet.training.config`, the files that a run leaves in `tinyunet.training.run_folder`, the words
of the warnings in `tinyunet.training.diagnostics`.

**The same seed gives the same run, and a run that was resumed equals one that was never
interrupted**, bit for bit, on the same machine with the same number of processes and threads. That
is easy to promise because no random generator is carried from step to step: whatever is random in
step *s* (the images, crops, flips) comes from a fresh ``random_generator(seed, s)``, so the number
of the step is all there is to remember.
"""

import contextlib
import math
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path

from tinyunet.atomic_io import make_folder, sole_writer
from tinyunet.backend import use_device, xp
from tinyunet.checkpoint import save_model
from tinyunet.data.dataset import Dataset
from tinyunet.data.images import plain
from tinyunet.errors import UserError, problems_named
from tinyunet.inference.evaluation import evaluate
from tinyunet.nn.losses import LOSSES
from tinyunet.progress import is_watched, tqdm
from tinyunet.training import diagnostics
from tinyunet.training.config import TrainingConfig
from tinyunet.training.datasets import load_datasets
from tinyunet.training.run_folder import RunFolder, refuse_to_overwrite, state_to_resume
from tinyunet.training.setup import Training, new_model


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
    out, state = Path(config.out), None
    is_main = communicator is None or communicator.is_main_process
    with contextlib.ExitStack() as stack:
        if config.resume:
            if is_main and out.is_dir():
                stack.enter_context(sole_writer(out))
            state = state_to_resume(config)
        else:
            refuse_to_overwrite(out)
        training, validation = datasets or load_datasets(config, state, progress and is_watched())
        trainer = Trainer(config, training, validation, state, communicator)
        if is_main and not config.resume:
            stack.enter_context(sole_writer(make_folder(out)))
            refuse_to_overwrite(out)  # another run may have been here while images were read
        trainer.run(progress)
        if is_main:
            trainer.folder.add_training_features(training)
    return trainer


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

    LOG_INTERVAL = 10  # steps: the loss is fetched from the device, averaged and shown
    PROGRESS = ("step", "history", "best_step", "best_mean_iou")  # what last.npz remembers

    def __init__(
        self, config, training: Dataset, validation: Dataset, state=None, communicator=None
    ):
        model = state.model if state else new_model(config, training, validation)
        super().__init__(config, model, training, communicator)
        self.validation = validation
        judged = self.find_classes(validation, "validation").counts.sum(axis=0)
        warning = diagnostics.rare_in_validation(self.counts, judged, model.class_names)
        if warning and self.communicator.is_main_process:
            warnings.warn(warning, stacklevel=2)
        self.validation_loss = LOSSES[config.loss](self.class_weights, model.ignore_index)
        self.folder = RunFolder(config, model)
        self.step = 0
        self.history: list[dict] = []
        self.best_step, self.best_mean_iou = 0, None
        self.losses = []  # since the last row; they stay on the device until it is written
        if state:
            model.metadata["settings"] = asdict(config)
            with problems_named(self.folder.path / "last.npz", "is inconsistent"):
                self.optimizer.load_state_dict(state.optimizer)
            for name in self.PROGRESS:
                setattr(self, name, state.progress[name])
        self.seconds_before = self.history[-1]["seconds"] if self.history else 0.0
        self.saved = self.step  # the step of the last checkpoint
        self.first_step, self.started = self.step, time.perf_counter()

    def run(self, progress: bool) -> None:
        """Go on until the last step, with a checkpoint now and then."""
        config, is_main = self.config, self.communicator.is_main_process
        self.communicator.wait()  # until all have looked at the folder, before one writes into it
        if is_main:
            self.prepare_folder()
        if self.has_stopped_improving():
            return
        watched = progress and is_main and is_watched()
        count = {"total": config.steps, "initial": self.step}
        with tqdm(**count, desc="training", disable=not watched) as bar:
            for step, loss in self.steps(self.step, config.steps):
                self.step = step + 1
                self.losses.append(loss)
                checkpoint = self.step % config.val_interval == 0 or self.step == config.steps
                if checkpoint or self.step % self.LOG_INTERVAL == 0:
                    self.log()
                    bar.set_postfix_str(self.progress_text(), refresh=False)
                if checkpoint and is_main:
                    self.checkpoint()
                    if progress and not watched:
                        self.say(f"{self.progress_text()}, {self.time_left()} left")
                bar.update()
                if checkpoint and self.has_stopped_improving():
                    break
        if is_main:
            self.say(diagnostics.advice_on_steps(self.history))

    # -- What is kept of it ---------------------------------------------------------------

    def prepare_folder(self) -> None:
        """Make the run's folder, or bring that of an earlier run up to date."""
        images = {"training_images": len(self.training), "validation_images": len(self.validation)}
        threads = len(self.replicas.replicas)
        self.folder.make(processes=self.communicator.size, threads=threads, **images)
        if self.step == 0:
            if self.training.table is not None:
                lines = [f"\n  {plain(line)}" for line in str(self.training.table).splitlines()]
                tqdm.write(f"what the masks store for each class:{''.join(lines)}", file=sys.stderr)
            self.save_state()  # from here on there is something to resume
        else:  # the earlier run may have died just before
            self.folder.write_reports(self.history, self.validation)

    def log(self) -> None:
        """Add a row to the history, with the mean loss since the last; stop if it is NaN."""
        losses = [float(loss) for loss in self.losses]  # here the device is waited for
        for number, loss in enumerate(losses, start=self.step - len(losses) + 1):
            if not math.isfinite(loss):
                self.stop(f"the loss became {loss} in step {number}")
        self.losses = []
        seconds = round(self.seconds_before + time.perf_counter() - self.started, 2)
        row = {"step": self.step, "loss": sum(losses) / len(losses), "lr": self.optimizer.lr}
        self.history.append(row | {"seconds": seconds})

    def checkpoint(self) -> None:
        """Judge the network on the validation images, and bring the run's folder up to date."""
        threads, names = self.config.threads, self.model.class_names
        scores = evaluate(self.model, self.validation, self.validation_loss, threads=threads)
        if not math.isfinite(scores.loss):
            self.stop(f"by step {self.step} the validation loss was {scores.loss}")
        self.history[-1] |= {
            "val_loss": scores.loss,
            "val_mean_iou": scores.mean_iou,
            "val_pixel_accuracy": scores.pixel_accuracy,
            **{f"iou {name}": iou for name, iou in zip(names, scores.iou, strict=True)},
        }
        if self.best_step == 0 or (scores.mean_iou or 0) > (self.best_mean_iou or 0):
            self.best_step, self.best_mean_iou = self.step, scores.mean_iou
            self.folder.save_best(self.step, scores)
        self.save_state()
        self.folder.write_reports(self.history, self.validation)

    def save_state(self) -> None:
        """Save all that `--resume` needs."""
        progress = {name: getattr(self, name) for name in self.PROGRESS}
        save_model(self.folder.path / "last.npz", self.model, self.optimizer, progress)
        self.saved = self.step

    # -- Whether to go on -----------------------------------------------------------------

    def has_stopped_improving(self) -> bool:
        """Wait for all processes; tell whether the last validations were all no better."""
        self.communicator.wait()  # for the main process, which alone knows the scores
        since = [row for row in self.history if row["step"] > self.best_step]
        count, patience = sum("val_mean_iou" in row for row in since), self.config.patience
        enough = patience is not None and self.communicator.is_main_process and count >= patience
        if enough:
            self.say(f"no better score in {count} validations, so training stops early")
        votes = xp.asarray([float(enough)])
        self.communicator.sum_in_place(votes)
        return bool(votes[0])

    def stop(self, reason: str) -> None:
        """Give up, in words; the files of the last checkpoint stay."""
        raise UserError(
            f"{reason}, so training stops; {self.folder.path} keeps the checkpoint of step "
            f"{self.saved}. Start a new run with a smaller learning rate than {self.config.lr:g}"
        )

    def say(self, text: str | None) -> None:
        """Tell the person who waits something, beside the progress bar."""
        if text:
            tqdm.write(f"step {self.step} of {self.config.steps}: {text}", file=sys.stderr)

    def progress_text(self) -> str:
        """Say in a few words how it goes, for the progress bar."""
        text = f"loss {self.history[-1]['loss']:.3f}"
        scores = [row["val_mean_iou"] for row in self.history if "val_mean_iou" in row]
        return text + (f", val mean IoU {scores[-1] or 0:.3f}" if scores else "")

    def time_left(self) -> str:
        """Say how long the rest will take, if it goes on as it did: hours, minutes, seconds."""
        pace = (time.perf_counter() - self.started) / (self.step - self.first_step)
        return tqdm.format_interval(pace * (self.config.steps - self.step))
