"""Floor 6: the loop that makes a network learn, and the folder that it leaves behind.

One step of training is a dozen lines (`Trainer.step`): draw a batch, run the network forward,
compare with the truth, run it backward, change the weights. Everything else here is care for the
person who waits: scores on images the network has not seen, pictures, files that survive accidents.

The folder of a run holds

- ``model.npz``: the network as it was when its validation score was best; this is the one to use;
- ``last.npz``: the network and the optimizer at the last checkpoint, to go on with ``--resume``;
- ``metrics.csv`` and ``curves.png``: loss and scores over the steps;
- ``preview.png``: a few validation images, their truth and the prediction;
- ``config.json``: the settings.

All are written aside and renamed, at every checkpoint. ``last.npz`` remembers the metrics too, so
whatever moment a run dies at, the folder and the run that goes on agree.

**The same seed gives the same run, and a run that was resumed equals one that was never
interrupted**, bit for bit, on the same machine with the same number of processes and threads. That
is easy to promise because no random generator is carried from step to step: whatever is random in
step *s* (the images, crops, flips) comes from a fresh ``np.random.default_rng([seed, s])``, so the
number of the step is all there is to remember.
"""

import csv
import io
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinyunet import __version__
from tinyunet.backend import device_name, use_device, xp
from tinyunet.checkpoint import (
    Model,
    TrainingState,
    load_training_state,
    save_model,
    save_training_state,
    written_aside,
)
from tinyunet.data.augmentation import check_crop, sample_batch
from tinyunet.data.folder import (
    Dataset,
    count_classes,
    find_pairs,
    load_pairs,
    number_of_classes,
)
from tinyunet.data.standardization import Standardization
from tinyunet.errors import UserError
from tinyunet.evaluation import Scores, evaluate
from tinyunet.losses import CrossEntropy
from tinyunet.optimizers import Adam, cosine
from tinyunet.parallel import Replicas
from tinyunet.pictures import plot_curves, preview, save_picture
from tinyunet.prediction import predict_classes
from tinyunet.processes import Alone
from tinyunet.unet import UNet

CHOICES = {
    "up": ("transpose", "nearest"),
    "padding": ("same", "valid"),
    "norm": ("batch", "none"),
    "class_weights": ("auto", "none"),
}


@dataclass
class TrainingConfig:
    """The settings of a run; the command line has an option for each.

    Attributes
    ----------
    images, masks : str
        Folders; a mask has the stem of its image and holds class indices.
    out : str
        The folder of the run.
    val_images, val_masks : str, optional
        Folders of the images to validate on. Without them `val_fraction` of the images is set
        aside, chosen at random by the seed.
    val_fraction : float
        See above.
    steps, batch, crop : int
        How many steps; crops a step; height and width of a crop in pixels.
    base, depth, up, padding, norm, dropout
        The network, as in `UNet` (`base` is its `base_channels`; `norm` "batch" or "none").
    lr : float
        The highest learning rate: it rises to this over the first twentieth of the steps, then
        falls to 0 along half a cosine.
    class_weights : str
        "auto" lets the pixels of rare classes count more, "none" counts all alike.
    class_names : list of str, optional
        A name for each class; also says how many there are.
    ignore_index : int, optional
        Mask pixels of this value don't count, neither in training nor in any score.
    val_every : int
        How many steps from one checkpoint to the next: validation, files and pictures.
    seed : int
        Decides everything random.
    device : str
        "auto", "cpu" or "cuda".
    threads : int, optional
        Among how many threads a batch is split; without it, as many as there are cores.
    resume : bool
        Go on with the run in `out` from its last checkpoint.
    """

    images: str
    masks: str
    out: str
    val_images: str | None = None
    val_masks: str | None = None
    val_fraction: float = 0.2
    steps: int = 1000
    batch: int = 8
    crop: int = 128
    base: int = 16
    depth: int = 4
    up: str = "transpose"
    padding: str = "same"
    norm: str = "batch"
    dropout: float = 0.0
    lr: float = 1e-3
    class_weights: str = "none"
    class_names: list[str] | None = None
    ignore_index: int | None = None
    val_every: int = 100
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        """Turn paths into text, which JSON can hold."""
        for name in ("images", "masks", "out", "val_images", "val_masks"):
            if getattr(self, name) is not None:
                setattr(self, name, str(getattr(self, name)))
        if self.class_names is not None:
            self.class_names = [str(name) for name in self.class_names]

    def check(self) -> None:
        """Raise a UserError if a setting makes no sense by itself."""
        for name in ("steps", "batch", "crop", "base", "depth", "val_every", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, and is {value}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} must be one of {', '.join(choices)}")
        if not 0 < self.lr < math.inf:
            raise UserError(f"lr must be above 0, and is {self.lr}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, and is {self.dropout}")
        if self.seed < 0:
            raise UserError(f"seed must not be negative, and is {self.seed}")
        if (self.val_images is None) != (self.val_masks is None):
            raise UserError("val_images and val_masks go together: give both or neither")
        if self.class_names and len(set(self.class_names)) < len(self.class_names):
            raise UserError(f"two classes have the same name: {', '.join(self.class_names)}")


# What may differ between a run and the one that resumes it: where things are and how long to go on.
MAY_CHANGE = ("images", "masks", "out", "steps", "device", "threads", "resume")


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
    team : Team, optional
        The processes that share the work, from `tinyunet.processes.team`. All of them call this
        function; only one writes files, validates and shows its progress.

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


def refuse_to_overwrite(out: Path) -> None:
    """Raise a UserError if a run is in this folder already."""
    for name in ("last.npz", "model.npz"):
        if (out / name).exists():
            raise UserError(
                f"{out} holds a run already ({name}): go on with it by --resume, choose another "
                "folder for --out, or delete this one"
            )


def settings_to_resume(out, **changes) -> TrainingConfig:
    """Return the settings of the run in a folder, with some changed: what a person typed anew."""
    stored = stored_settings(last_state(out))
    return replace(stored, out=str(out), resume=True, **changes)


def last_state(out) -> TrainingState:
    """Load the last checkpoint in the folder of a run."""
    path = Path(out) / "last.npz"
    if not path.exists():
        raise UserError(f"no run to resume: there is no {path}; start one without --resume")
    return load_training_state(path)


def stored_settings(state: TrainingState) -> TrainingConfig:
    """Return the settings that a run was started with."""
    try:
        return TrainingConfig(**state.model.metadata["settings"])
    except (KeyError, TypeError) as error:
        raise UserError(f"the run was not started by this version of tinyunet: {error}") from error


def state_to_resume(config: TrainingConfig) -> TrainingState:
    """Load the state of the run in ``config.out`` and see that the settings fit it."""
    state = last_state(config.out)
    stored = asdict(stored_settings(state))
    for name, value in asdict(config).items():
        if name not in MAY_CHANGE and value != stored[name]:
            raise UserError(
                f"the run in {config.out} has {name} {stored[name]}, which can't become {value} "
                "half-way: leave the option out, or start a new run"
            )
    if config.steps < state.progress["step"]:
        raise UserError(
            f"the run in {config.out} has done {state.progress['step']} steps already: steps must "
            f"not be {config.steps}"
        )
    return state


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
    if config.val_images is None:
        return training.split(config.val_fraction, config.seed)
    return training, load(config.val_images, config.val_masks, training.channels)


def balanced_weights(counts, ignore_index: int | None = None) -> list[float]:
    """Return a weight for each class, so that rare classes are heard.

    The weight is 1 / sqrt(share of the pixels), scaled so that the mean weight of a pixel is 1. The
    square root is a compromise: with 1 / share, a class of a hundred pixels in the whole data set
    would weigh as much as all others, and be found everywhere.

    Parameters
    ----------
    counts : array (K,)
        Pixels of each class.
    ignore_index : int, optional
        If it is a class, it gets weight 0.

    Returns
    -------
    list of float
        K weights; 0 for a class that has no pixel.
    """
    counts = np.array(counts, dtype=float)
    if ignore_index is not None and 0 <= ignore_index < len(counts):
        counts[ignore_index] = 0
    total = counts.sum()
    share = counts / total
    weights = np.where(counts > 0, 1 / np.sqrt(np.maximum(share, 1 / total)), 0.0)
    return list(weights / (weights * share).sum())


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
    team : Team, optional
        The processes that share the work.

    Raises
    ------
    UserError
        If images, masks, crop and network don't fit together.
    """

    LOG_EVERY = 10  # steps: the loss is fetched from the device, averaged and shown

    def __init__(self, config, training: Dataset, validation: Dataset, state=None, team=None):
        self.config, self.training, self.validation = config, training, validation
        self.out = Path(config.out)
        self.team = team or Alone()
        self.model = state.model if state else new_model(config, training, validation)
        self.network = self.model.network
        self.network.check_size(config.crop, config.crop)
        check_crop(training, config.crop)
        classes = self.network.config["classes"]
        for name, masks in (("validation", validation.masks), ("training", training.masks)):
            counts = count_classes(masks, classes, config.ignore_index)
            if not counts.any():
                raise UserError(f"no pixel of the {name} masks counts: all are to be ignored")

        # The optimizer first: it lays all parameters side by side, and the replicas share them.
        self.optimizer = Adam(self.network.parameters(), config.lr)
        self.replicas = Replicas(self.network, config.threads, self.team)
        self.schedule = cosine(config.lr, config.steps, warmup_steps=config.steps // 20)
        weights = None
        if config.class_weights == "auto":
            weights = balanced_weights(counts, config.ignore_index)
        self.loss = CrossEntropy(weights, config.ignore_index)

        self.finished = 0  # steps
        self.history: list[dict] = []  # a row of metrics.csv each
        self.best_step, self.best_mean_iou = 0, None
        self.losses = []  # since the last row; they stay on the device until it is written
        self.seconds_before = 0.0
        if state:
            self.model.metadata["settings"] = asdict(replace(config, resume=False))
            self.optimizer.load_state(state.optimizer)
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
        if self.team.is_writer:
            self.prepare_folder()
        with tqdm(
            total=config.steps,
            initial=self.finished,
            desc="training",
            disable=not (progress and self.team.is_writer),
        ) as bar:
            while self.finished < config.steps:
                self.step()
                last = self.finished == config.steps
                checkpoint = last or self.finished % config.val_every == 0
                if checkpoint or self.finished % self.LOG_EVERY == 0:
                    row = self.log()
                    if checkpoint:
                        bar.set_description("validating")
                        self.check_weights()
                        if self.team.is_writer:
                            self.checkpoint(row)
                        self.team.wait()
                        bar.set_description("training")
                    bar.set_postfix_str(self.news())
                bar.update()

    def step(self) -> None:
        """Do one step of training: the heart of it all."""
        config = self.config
        rng = np.random.default_rng([config.seed, self.finished])
        images, labels = sample_batch(
            self.training, self.model.standardization, batch=config.batch, crop=config.crop, rng=rng
        )
        labels = self.cut_to_output(labels)
        self.replicas.train()
        self.optimizer.zero_grad()
        loss = self.replicas.loss_and_gradients(
            images, labels, self.loss, seed=[config.seed, self.finished]
        )
        self.optimizer.lr = self.schedule(self.finished)
        self.optimizer.step()
        self.losses.append(loss)
        self.finished += 1

    def cut_to_output(self, labels):
        """Cut the labels (N, H, W) to the centre that a network with valid padding predicts."""
        height, width = labels.shape[1:]
        rows, columns = self.network.output_size(height, width)
        top, left = (height - rows) // 2, (width - columns) // 2
        return labels[:, top : top + rows, left : left + columns]

    # -- What is kept of it ---------------------------------------------------------------

    def log(self) -> dict:
        """Add a row to the history, with the mean loss since the last; stop if it is no number."""
        losses = [float(loss) for loss in self.losses]  # here the device is waited for
        for number, loss in enumerate(losses, start=self.finished - len(losses) + 1):
            if not math.isfinite(loss):
                self.stop(f"the loss became {loss} in step {number}")
        self.losses = []
        row = {"step": self.finished, "loss": sum(losses) / len(losses), "lr": self.optimizer.lr}
        row["seconds"] = round(self.seconds_before + time.perf_counter() - self.started, 2)
        self.history.append(row)
        return row

    def stop(self, reason: str) -> None:
        """Give up, in words; the files of the last checkpoint stay."""
        raise UserError(
            f"{reason}, so training stops; {self.out} keeps the checkpoint of step {self.saved}. "
            f"Start a new run with a smaller learning rate than {self.config.lr:g}"
        )

    def check_weights(self) -> None:
        """Stop if a weight is no number any more."""
        if not all(bool(xp.isfinite(p.data).all()) for p in self.network.parameters()):
            self.stop(f"a weight became infinite or not a number by step {self.finished}")

    def checkpoint(self, row: dict) -> None:
        """Judge the network on the validation images, and bring the run's folder up to date."""
        scores = evaluate(self.model, self.validation)
        row["val_mean_iou"] = scores.mean_iou
        row["val_pixel_accuracy"] = scores.pixel_accuracy
        for name, value in zip(self.model.class_names, scores.iou, strict=True):
            row[f"iou {name}"] = value
        self.warn_of_one_class(scores)
        if self.best_step == 0 or (scores.mean_iou or 0) > (self.best_mean_iou or 0):
            self.best_step, self.best_mean_iou = self.finished, scores.mean_iou
            self.save_best(scores)
        self.save_state()
        self.write_reports()

    def warn_of_one_class(self, scores: Scores) -> None:
        """Say so when the network predicts the same class everywhere and the truth has more."""
        if len(scores.predicted_classes) == 1 and (scores.confusion.sum(axis=1) > 0).sum() > 1:
            name = self.model.class_names[scores.predicted_classes[0]]
            tqdm.write(
                f"step {self.finished}: the network predicts {name!r} for every validation pixel. "
                "Early on this is usual; if it stays, train longer, try --class-weights auto, and "
                "see in preview.png whether the masks are what you think",
                file=sys.stderr,
            )

    def news(self) -> str:
        """Say in a few words how it goes, for the progress bar."""
        text = f"loss {self.history[-1]['loss']:.3f}"
        scores = [row["val_mean_iou"] for row in self.history if "val_mean_iou" in row]
        return text + (f", val mean IoU {scores[-1] or 0:.3f}" if scores else "")

    # -- Files ----------------------------------------------------------------------------

    def prepare_folder(self) -> None:
        """Make the run's folder, or bring that of an earlier run up to date."""
        self.out.mkdir(parents=True, exist_ok=True)
        self.write_settings()
        if self.finished == 0:
            self.save_state()  # from here on there is something to resume
        else:
            self.write_reports()  # should the earlier run have died just before

    def save_best(self, scores: Scores) -> None:
        """Save the network as the best so far."""
        model = self.model
        save_model(
            self.out / "model.npz",
            model.network,
            standardization=model.standardization,
            class_names=model.class_names,
            ignore_index=model.ignore_index,
            extra=model.metadata
            | {"step": self.finished, "validation": scores.as_json(model.class_names)},
        )

    def save_state(self) -> None:
        """Save all that `--resume` needs."""
        progress = {
            "step": self.finished,
            "history": self.history,
            "best_step": self.best_step,
            "best_mean_iou": self.best_mean_iou,
        }
        save_training_state(self.out / "last.npz", self.model, self.optimizer, progress)
        self.saved = self.finished

    def write_settings(self) -> None:
        """Write config.json: the settings, and what they came to on this machine."""
        facts = asdict(self.config) | {
            "tinyunet": __version__,
            "device": device_name(),
            "processes": self.team.size,
            "threads": len(self.replicas.replicas),
            "network": self.network.config,
            "class_names": self.model.class_names,
            "training_images": len(self.training),
            "validation_images": len(self.validation),
        }
        with written_aside(self.out / "config.json") as file:
            file.write((json.dumps(facts, indent=2) + "\n").encode())

    def write_reports(self) -> None:
        """Write metrics.csv and draw curves.png and preview.png."""
        with written_aside(self.out / "metrics.csv") as file:
            file.write(metrics_csv(self.history, self.model.class_names).encode())
        points = [{**row, "mean_iou": row.get("val_mean_iou")} for row in self.history]
        plot_curves(points, self.out / "curves.png")
        chosen = np.linspace(0, len(self.validation) - 1, min(4, len(self.validation))).astype(int)
        examples = self.validation.subset(chosen)
        rows = [
            (image, mask, predict_classes(self.model, image))
            for image, mask in zip(examples.images, examples.masks, strict=True)
        ]
        picture = preview(rows, self.model.class_names, ignore_index=self.model.ignore_index)
        save_picture(picture, self.out / "preview.png")


def new_network(config: TrainingConfig, in_channels: int, classes: int) -> UNet:
    """Make an untrained network by the settings."""
    return UNet(
        in_channels,
        classes,
        base_channels=config.base,
        depth=config.depth,
        padding=config.padding,
        up=config.up,
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


def metrics_csv(history: list[dict], class_names) -> str:
    """Write the history as CSV; what was not measured at a step is empty."""
    columns = ["step", "loss", "lr", "val_mean_iou", "val_pixel_accuracy"]
    columns += [f"iou {name}" for name in class_names] + ["seconds"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
