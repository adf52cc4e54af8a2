"""The loop that makes a network learn.

One step of training is a dozen lines (`Trainer.step`): draw a batch, run the network forward,
compare with the truth, run it backward, change the weights. Everything else here is care for the
person who waits: scores on images the network has not seen, checkpoints, warnings. The settings are
in `tinyunet.training.config`, the files that a run leaves in `tinyunet.training.run_folder`, the
words of the warnings in `tinyunet.training.diagnostics`.

**The same seed gives the same run, and a run that was resumed equals one that was never
interrupted**, bit for bit, on the same machine with the same number of processes and threads. That
is easy to promise because no random generator is carried from step to step: whatever is random in
step *s* (the images, crops, flips) comes from a fresh ``np.random.default_rng([seed, s])``, so the
number of the step is all there is to remember.
"""

import math
import sys
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinyunet.backend import to_device, use_device, xp
from tinyunet.checkpoint import Model, TrainingState
from tinyunet.data.augmentation import check_crop, sample_with_instances
from tinyunet.data.dataset import (
    Dataset,
    count_classes,
    find_pairs,
    load_instances,
    load_pairs,
    number_of_classes,
)
from tinyunet.data.tiles import spatial_split
from tinyunet.data.weight_maps import (
    connected_components,
    scipys_ndimage,
    suggest_class_weights,
    weight_map,
)
from tinyunet.distributed.mpi import SingleProcess
from tinyunet.distributed.replicas import Replicas
from tinyunet.errors import UserError
from tinyunet.inference.evaluation import evaluate
from tinyunet.nn.losses import LOSSES
from tinyunet.nn.operations import operations
from tinyunet.nn.schedules import cosine
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import SizeError, UNet
from tinyunet.training import diagnostics
from tinyunet.training.config import CHOICES, TrainingConfig
from tinyunet.training.run_folder import (
    RunFolder,
    last_state,
    refuse_to_overwrite,
    settings_to_resume,
    state_to_resume,
)

__all__ = [
    "CHOICES",
    "Trainer",
    "TrainingConfig",
    "TrainingResult",
    "new_network",
    "settings_to_resume",
    "train",
]


@dataclass
class TrainingResult:
    """What a run came to.

    Attributes
    ----------
    model : Model
        The network after the last step (the best one is in ``model.npz``).
    history : list of dict
        The rows of ``metrics.csv``.
    best_step : int
        The step at which ``model.npz`` was saved.
    best_mean_iou : float or None
        Its mean IoU on the validation images.
    """

    model: Model
    history: list
    best_step: int
    best_mean_iou: float | None


def train(
    config: TrainingConfig, datasets=None, progress: bool = True, team=None
) -> TrainingResult:
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
    team : Communicator, optional
        The processes that share the work, from `tinyunet.distributed.mpi.team`. All of them call
        this function; only one writes files, validates and shows its progress.

    Returns
    -------
    TrainingResult
        The trained network and how it went.

    Raises
    ------
    UserError
        If the settings or the files don't fit, before anything is written; or if the loss is no
        longer a number, in which case the last good checkpoint stays.
    """
    config.check()
    use_device(config.device)
    state = state_to_resume(config) if config.resume else None
    if state is None:
        refuse_to_overwrite(Path(config.out))
    # The bar of the training always shows; while reading, it would only clutter a log.
    reading = progress and sys.stderr.isatty()
    training, validation = datasets or load_datasets(config, state, reading)
    trainer = Trainer(config, training, validation, state, team)
    trainer.run(progress)
    return TrainingResult(trainer.model, trainer.history, trainer.best_step, trainer.best_mean_iou)


# -- Before the first step -------------------------------------------------------------------------


def load_datasets(config: TrainingConfig, state: TrainingState | None, progress: bool):
    """Read the folders; returns the training and the validation images."""
    classes = channels = None
    if state is not None:
        network = state.model.network.config
        classes, channels = network["classes"], network["in_channels"]
    elif config.class_names:
        classes = len(config.class_names)

    def load(images, masks, channels):
        pairs = find_pairs(images, masks)
        return load_pairs(pairs, classes, config.ignore_index, channels, progress)

    training = load(config.images, config.masks, channels)
    if config.instances is not None:
        load_instances(training, config.instances)
    if config.val_images is not None:
        return training, load(config.val_images, config.val_masks, training.channels)
    if config.val_split == "random":
        warning = diagnostics.tiles_split_at_random(training.stems)
        if warning:
            warnings.warn(warning, stacklevel=2)
        return training.split(config.val_fraction, config.seed)
    sizes = [max(image.shape[:2]) for image in training.images]
    chosen = spatial_split(training.stems, config.val_fraction, sizes)
    return tuple(training.subset(indices) for indices in chosen)


def new_network(config: TrainingConfig, in_channels: int, classes: int) -> UNet:
    """Make an untrained network by the settings."""
    return UNet(
        in_channels,
        classes,
        base_channels=config.base_channels,
        depth=config.depth,
        padding=config.padding,
        upsampling=config.upsampling,
        norm=None if config.norm == "none" else config.norm,
        dropout=config.dropout,
        seed=config.seed,
    )


def new_model(config: TrainingConfig, training: Dataset, validation: Dataset) -> Model:
    """Make an untrained network that fits the images, and what belongs to it."""
    names = config.class_names
    if names is None:
        classes = number_of_classes(training.masks + validation.masks, config.ignore_index)
        names = [f"class {index}" for index in range(classes)]
    network = new_network(config, training.channels, len(names))
    standardization = Standardization.fit(training.images)
    metadata = {"settings": asdict(config)}
    return Model(network, standardization, list(names), config.ignore_index, metadata)


# -- The run ---------------------------------------------------------------------------------------


class Trainer:
    """A run: the network, the optimizer and the images, and what has happened so far.

    Parameters
    ----------
    config : TrainingConfig
        The settings.
    training, validation : Dataset
        The images to learn from and those to be judged by.
    state : TrainingState, optional
        Where to go on; without it the run starts anew.
    team : Communicator, optional
        The processes that share the work.

    Raises
    ------
    UserError
        If images, masks, crop and network don't fit together.
    """

    LOG_EVERY = 10  # steps: the loss is fetched from the device, averaged and shown

    def __init__(self, config, training: Dataset, validation: Dataset, state=None, team=None):
        self.config, self.training, self.validation = config, training, validation
        self.team = team or SingleProcess()
        self.model = state.model if state else new_model(config, training, validation)
        self.network = self.model.network
        try:
            self.network.check_size(config.crop_size, config.crop_size)
        except SizeError as error:
            raise UserError(f"crops of {config.crop_size}: {error}") from error
        check_crop(training, config.crop_size)
        classes = self.network.config["classes"]
        for name, masks in (("validation", validation.masks), ("training", training.masks)):
            counts = count_classes(masks, classes, config.ignore_index)
            if not counts.any():
                raise UserError(f"no pixel of the {name} masks counts: all are to be ignored")

        self.optimizer = operations.Adam(self.network.parameters(), config.lr)
        self.replicas = Replicas(self.network, config.threads, self.team)
        self.schedule = cosine(config.lr, config.steps, warmup_steps=config.steps // 20)
        self.class_weights = None
        if config.class_weights == "auto":
            self.class_weights = suggest_class_weights(counts, config.ignore_index)
        if config.weight_map:
            scipys_ndimage()  # if it is missing, say so now
        # A weight map holds the class weights already.
        weights = None if config.weight_map else self.class_weights
        self.loss = LOSSES[config.loss](weights, config.ignore_index)

        self.folder = RunFolder(config, self.model)
        self.finished = 0  # steps
        self.history: list[dict] = []  # a row of metrics.csv each
        self.best_step, self.best_mean_iou = 0, None
        self.losses = []  # since the last row; they stay on the device until it is written
        self.seconds_before = 0.0
        if state:
            self.model.metadata["settings"] = asdict(replace(config, resume=False))
            self.optimizer.load_state_dict(state.optimizer)
            self.finished = state.progress["step"]
            self.history = state.progress["history"]
            self.best_step = state.progress["best_step"]
            self.best_mean_iou = state.progress["best_mean_iou"]
            self.seconds_before = self.history[-1]["seconds"] if self.history else 0.0
        self.saved = self.finished  # the step of the last checkpoint
        self.started = time.perf_counter()

    def run(self, progress: bool = True) -> None:
        """Go on until the last step, with a checkpoint now and then."""
        config = self.config
        self.team.wait()  # until all have looked at the folder, before one writes into it
        if self.team.is_main_process:
            self.prepare_folder()
        enough = self.has_stopped_improving()
        with tqdm(
            total=config.steps,
            initial=self.finished,
            desc="training",
            disable=not (progress and self.team.is_main_process),
        ) as bar:
            while self.finished < config.steps and not enough:
                self.step()
                last = self.finished == config.steps
                checkpoint = last or self.finished % config.val_interval == 0
                if checkpoint or self.finished % self.LOG_EVERY == 0:
                    row = self.log()
                    if checkpoint:
                        bar.set_description("validating")
                        self.check_weights()
                        if self.team.is_main_process:
                            self.checkpoint(row)
                        enough = self.has_stopped_improving()
                        bar.set_description("training")
                    bar.set_postfix_str(self.progress_text())
                if not checkpoint and self.is_time_to_look():
                    self.folder.write_preview(self.validation)
                bar.update()

    def step(self) -> None:
        """Do one step of training: the heart of it all."""
        images, labels, pixel_weights = self.draw_batch()
        self.replicas.train()
        self.optimizer.zero_grad()
        loss = self.replicas.loss_and_gradients(
            images,
            labels,
            self.loss,
            pixel_weights=pixel_weights,
            seed=[self.config.seed, self.finished],
        )
        self.optimizer.lr = self.schedule(self.finished)
        self.replicas.step(self.optimizer)
        self.losses.append(loss)
        self.finished += 1

    def draw_batch(self):
        """Draw what the next step learns from: images, labels, and pixel weights or None."""
        config = self.config
        images, labels, instances = sample_with_instances(
            self.training,
            self.model.standardization,
            batch_size=config.batch_size,
            crop_size=config.crop_size,
            rng=np.random.default_rng([config.seed, self.finished]),
            elastic=config.elastic,
        )
        pixel_weights = None
        if config.weight_map:
            if instances is None:
                instances = [None] * len(labels)
            weights = [self.weigh(*masks) for masks in zip(labels, instances, strict=True)]
            pixel_weights = self.center_crop(np.stack(weights))
        return images, self.center_crop(labels), pixel_weights

    def weigh(self, mask, instances=None):
        """Give each pixel of a mask its weight; without instances, connected pieces are objects."""
        if instances is None:  # pixels that don't count are no object
            instances = connected_components(np.where(mask == self.config.ignore_index, 0, mask))
        return weight_map(mask, instances, self.class_weights)

    def center_crop(self, labels):
        """Cut the labels (N, H, W) to the center that a network with valid padding predicts."""
        height, width = labels.shape[1:]
        rows, columns = self.network.output_size(height, width)
        top, left = (height - rows) // 2, (width - columns) // 2
        return labels[:, top : top + rows, left : left + columns]

    # -- What is kept of it ---------------------------------------------------------------

    def prepare_folder(self) -> None:
        """Make the run's folder, or bring that of an earlier run up to date."""
        self.folder.make(
            processes=self.team.size,
            threads=len(self.replicas.replicas),
            training_images=len(self.training),
            validation_images=len(self.validation),
        )
        if self.finished == 0:
            self.save_state()  # from here on there is something to resume
        else:
            self.write_reports()  # should the earlier run have died just before

    def log(self) -> dict:
        """Add a row to the history, with the mean loss since the last; stop if it is no number."""
        losses = [float(loss) for loss in self.losses]  # here the device is waited for
        for number, loss in enumerate(losses, start=self.finished - len(losses) + 1):
            if not math.isfinite(loss):
                self.stop(
                    f"the loss became {loss} in step {number}{self.find_nonfinite_layer(number)}"
                )
        self.losses = []
        row = {"step": self.finished, "loss": sum(losses) / len(losses), "lr": self.optimizer.lr}
        row["seconds"] = round(self.seconds_before + time.perf_counter() - self.started, 2)
        self.history.append(row)
        return row

    def checkpoint(self, row: dict) -> None:
        """Judge the network on the validation images, and bring the run's folder up to date."""
        scores = evaluate(self.model, self.validation, threads=self.config.threads)
        row["val_mean_iou"] = scores.mean_iou
        row["val_pixel_accuracy"] = scores.pixel_accuracy
        for name, value in zip(self.model.class_names, scores.iou, strict=True):
            row[f"iou {name}"] = value
        self.say(diagnostics.one_class_only(scores, self.model.class_names))
        self.say(diagnostics.overfitting(self.history))
        if self.best_step == 0 or (scores.mean_iou or 0) > (self.best_mean_iou or 0):
            self.best_step, self.best_mean_iou = self.finished, scores.mean_iou
            self.folder.save_best(self.finished, scores)
        self.save_state()
        self.write_reports()

    def save_state(self) -> None:
        """Save all that `--resume` needs."""
        progress = {
            "step": self.finished,
            "history": self.history,
            "best_step": self.best_step,
            "best_mean_iou": self.best_mean_iou,
        }
        self.folder.save_state(self.optimizer, progress)
        self.saved = self.finished

    def write_reports(self) -> None:
        """Bring the files that people look at up to date."""
        self.folder.write_metrics(self.history)
        self.folder.write_preview(self.validation)

    # -- Whether to go on -----------------------------------------------------------------

    def has_stopped_improving(self) -> bool:
        """Wait for the whole team; tell whether the last validations were all no better."""
        if self.config.patience is None:
            self.team.wait()
            return False
        since = [row for row in self.history if row["step"] > self.best_step]
        count = sum("val_mean_iou" in row for row in since)
        enough = self.team.is_main_process and count >= self.config.patience
        if enough:
            self.say(f"no better score in {count} validations, so training stops early")
        votes = xp.asarray([float(enough)])
        self.team.sum_in_place(votes)  # only the writer knows the scores: it tells the others
        return bool(votes[0])

    def check_weights(self) -> None:
        """Stop if a weight is no number any more."""
        for parameter in self.network.parameters():
            if not bool(xp.isfinite(parameter.data).all()):
                self.stop(f"by step {self.finished} {parameter.name} was no longer finite")

    def find_nonfinite_layer(self, number: int) -> str:
        """Find out which layer failed first in a step: do the steps since the checkpoint again."""
        if self.team.size > 1:  # the others would have to come along
            return ""
        self.say(f"the loss was no number in step {number}; looking where that began")
        state = last_state(self.config.out)
        self.network.load_state_dict(state.model.network.state_dict())
        self.optimizer.load_state_dict(state.optimizer)
        self.finished = state.progress["step"]
        while self.finished < number - 1:
            self.step()
        images, _, _ = self.draw_batch()
        self.network.set_seed([self.config.seed, self.finished], 0)
        return ": " + diagnostics.first_overflow(self.network.train(), to_device(images))

    def stop(self, reason: str) -> None:
        """Give up, in words; the files of the last checkpoint stay."""
        raise UserError(
            f"{reason}, so training stops; {self.folder.path} keeps the checkpoint of step "
            f"{self.saved}. Start a new run with a smaller learning rate than {self.config.lr:g}"
        )

    def is_time_to_look(self) -> bool:
        """Tell whether the preview is to be drawn between two checkpoints."""
        every = self.config.preview_interval
        return every is not None and self.team.is_main_process and self.finished % every == 0

    def say(self, text: str | None) -> None:
        """Tell the person who waits something, beside the progress bar."""
        if text:
            tqdm.write(f"step {self.finished}: {text}", file=sys.stderr)

    def progress_text(self) -> str:
        """Say in a few words how it goes, for the progress bar."""
        text = f"loss {self.history[-1]['loss']:.3f}"
        scores = [row["val_mean_iou"] for row in self.history if "val_mean_iou" in row]
        return text + (f", val mean IoU {scores[-1] or 0:.3f}" if scores else "")
