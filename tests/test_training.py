"""Training: it learns, repeats itself bit for bit, survives accidents, says what is wrong."""

import contextlib
import csv
import json
import math
import multiprocessing
import os
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_checkpoint import places, with_hostile_value
from tinyunet import memory
from tinyunet.atomic_io import sole_writer
from tinyunet.checkpoint import load_model, load_training_state
from tinyunet.cli.main import main
from tinyunet.data.dataset import Dataset, count_classes
from tinyunet.data.weight_maps import suggest_class_weights
from tinyunet.errors import UserError
from tinyunet.inference.evaluation import Scores, evaluate
from tinyunet.nn.losses import LOSSES
from tinyunet.nn.operations import use_operations
from tinyunet.nn.standardization import Standardization
from tinyunet.training import trainer
from tinyunet.training.config import TrainingConfig
from tinyunet.training.loop import random_batches, training_steps
from tinyunet.training.setup import load_datasets
from tinyunet.training.trainer import Trainer, metrics_csv, settings_to_resume, train

FILES = "config.json curves.png last.npz metrics.csv model.npz preview.png threshold_curve.png"
FILES = FILES.split()


@pytest.fixture(autouse=True)
def quick_curves(monkeypatch):
    """Leave out the drawing of curves, half the time of these tiny runs; see `test_pictures`."""
    monkeypatch.setattr(trainer, "plot_curves", lambda metrics, path: path.touch())


def blobs(count=6, size=(20, 28), seed=0) -> Dataset:
    """Paint bright rectangles (class 1) on a dark, noisy ground (class 0)."""
    rng = np.random.default_rng(seed)
    images, masks = [], []
    for _ in range(count):
        mask = np.zeros(size, dtype=np.uint8)
        top, left = rng.integers(2, 8, 2)
        mask[top : top + 9, left : left + 14] = 1
        image = rng.normal(80, 15, (*size, 3)) + 70 * mask[:, :, None]
        images.append(image.clip(0, 255).astype(np.uint8))
        masks.append(mask)
    return Dataset([f"blob{index}" for index in range(count)], images, masks)


def write_folders(folder: Path, dataset: Dataset) -> None:
    for kind, arrays in (("images", dataset.images), ("masks", dataset.masks)):
        (folder / kind).mkdir(parents=True)
        for stem, array in zip(dataset.stems, arrays, strict=True):
            Image.fromarray(array).save(folder / kind / f"{stem}.png")


def tiny(folder: Path, **changes) -> TrainingConfig:
    """Choose settings for a run that takes a second."""
    config = TrainingConfig(
        images=folder / "images",
        masks=folder / "masks",
        out=folder / "run",
        steps=24,
        batch_size=4,
        crop_size=16,
        base_channels=2,
        depth=1,
        lr=1e-2,
        val_interval=8,
        threads=2,
        device="cpu",
    )
    return replace(config, **changes)


def run(folder: Path, **changes):
    """Train on the blobs, in memory."""
    data = blobs()
    return train(tiny(folder, **changes), data.split(0.34, seed=0), progress=False)


def weights(folder: Path, name="last.npz") -> dict:
    return load_model(folder / "run" / name).network.state_dict()


def metrics(folder: Path) -> list[dict]:
    """Rows of metrics.csv, but for the seconds, which no run repeats."""
    with open(folder / "run" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def assert_same_run(a: Path, b: Path) -> None:
    for name in ("last.npz", "model.npz"):
        left, right = weights(a, name), weights(b, name)
        assert left.keys() == right.keys()
        for key in left:
            np.testing.assert_array_equal(left[key], right[key])
    assert metrics(a) == metrics(b)
    assert (a / "run" / "preview.png").read_bytes() == (b / "run" / "preview.png").read_bytes()


# -- It learns and leaves what it promises ---------------------------------------------------------


def test_a_run_learns_and_leaves_all_its_files(tmp_path, monkeypatch):
    monkeypatch.undo()  # with its curves
    write_folders(tmp_path, blobs())
    config = tiny(
        tmp_path, steps=60, val_interval=20, base_channels=4, class_names=["ground", "blob"]
    )
    result = train(config, progress=False)
    out = tmp_path / "run"
    assert sorted(path.name for path in out.iterdir()) == ["classes.txt", *FILES]
    assert result.best_mean_iou > 0.8

    rows = metrics(tmp_path)
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50, 60]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert [row["val_mean_iou"] != "" for row in rows] == [False, True] * 3
    best = max(rows, key=lambda row: float(row["val_mean_iou"] or 0))
    assert float(best["val_mean_iou"]) == result.best_mean_iou
    assert int(best["step"]) == result.best_step
    mean = (float(best["iou ground"]) + float(best["iou blob"])) / 2
    assert mean == pytest.approx(result.best_mean_iou)

    settings = json.loads((out / "config.json").read_text())
    assert settings["seed"] == 0
    assert settings["training_images"] == 5
    assert settings["validation_images"] == 1
    for name in ("curves.png", "preview.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100


def test_the_best_model_is_the_one_that_was_measured(tmp_path):
    data = blobs().split(0.34, seed=0)
    result = train(tiny(tmp_path), data, progress=False)
    model = load_model(tmp_path / "run" / "model.npz")
    scores = evaluate(model, data[1])
    assert model.threshold == scores.best_threshold
    assert scores.mean_iou == scores.mean_iou_by_threshold[round(100 * model.threshold) - 1]
    model.threshold = None  # the best checkpoint is chosen by the most probable class
    assert evaluate(model, data[1]).mean_iou == result.best_mean_iou
    assert model.metadata["step"] == result.best_step
    assert model.metadata["validation"]["mean_iou"] == result.best_mean_iou
    last = load_model(tmp_path / "run" / "last.npz")
    assert evaluate(last, data[1]).mean_iou == result.history[-1]["val_mean_iou"]


@pytest.mark.parametrize(
    "changes",
    [
        {"padding": "valid", "crop_size": 20, "norm": "none"},
        {"upsampling": "nearest", "dropout": 0.3, "depth": 2},
        {"class_weights": "auto", "ignore_index": 255, "threads": 1},
        {"ignore_index": 2, "class_names": ["ground", "blob", "nothing"]},
        {"batch_size": 1, "threads": 3},
        {"loss": "dice"},
        {"loss": "ce+dice", "class_weights": "auto", "elastic": True},
    ],
    ids=str,
)
def test_every_kind_of_network_and_mask_can_be_trained(tmp_path, changes):
    result = run(tmp_path, steps=3, **changes)
    assert math.isfinite(result.history[-1]["loss"])
    assert load_model(tmp_path / "run" / "model.npz").ignore_index == changes.get("ignore_index")


def test_training_runs_on_every_device(xp, tmp_path):
    device = "cpu" if xp.module is np else "cuda"
    result = run(tmp_path, steps=3, device=device)
    assert math.isfinite(result.history[-1]["loss"])


def test_the_learning_rate_warms_up_and_then_falls_to_nothing(tmp_path):
    rates = [row["lr"] for row in run(tmp_path, steps=60, lr=0.1, norm="none").history]
    assert rates == sorted(rates, reverse=True)
    assert 0.09 < rates[0] < 0.1
    assert 0 < rates[-1] < 1e-3
    trainer = Trainer(tiny(tmp_path, steps=60, lr=0.1), *blobs().split(0.34, seed=0))
    assert [trainer.schedule(step) for step in range(3)] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1])


def test_folders_for_validation_are_used(tmp_path):
    write_folders(tmp_path, blobs())
    write_folders(tmp_path / "val", blobs(count=2, size=(17, 19), seed=9))
    config = tiny(
        tmp_path,
        steps=2,
        val_images=tmp_path / "val" / "images",
        val_masks=tmp_path / "val" / "masks",
    )
    result = train(config, progress=False)
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (settings["training_images"], settings["validation_images"]) == (6, 2)
    assert result.best_mean_iou is not None


def test_the_loss_leaves_the_device_only_when_it_is_written_down(tmp_path, monkeypatch):
    fetched = []

    class Loss(float):
        def __float__(self):
            fetched.append(trainer.step)
            return 0.5

    data = blobs().split(0.34, seed=0)
    trainer = Trainer(tiny(tmp_path), *data)
    monkeypatch.setattr(trainer.replicas, "loss_and_gradients", lambda *_, **__: Loss(0.5))
    monkeypatch.setattr(trainer.optimizer, "step", lambda: None)
    trainer.run(progress=False)
    assert sorted(set(fetched)) == [8, 10, 16, 20, 24]


# -- What feeds the mathematics --------------------------------------------------------------------


def bright_and_dark():
    """Make training and validation images that differ in brightness and in the classes' shares."""
    training, validation = blobs(count=4), blobs(count=2, seed=5)
    validation.images[:] = [image // 4 for image in validation.images]
    validation.masks[:] = [np.roll(mask, 3, axis=1) | (mask[::-1] > 0) for mask in validation.masks]
    return training, validation


def test_images_are_standardized_as_the_training_images_say(tmp_path):
    training, validation = bright_and_dark()
    trainer = Trainer(tiny(tmp_path), training, validation)
    expected = Standardization.fit(training.images)
    np.testing.assert_array_equal(trainer.model.standardization.mean, expected.mean)
    np.testing.assert_array_equal(trainer.model.standardization.std, expected.std)
    assert (expected.mean > 2 * Standardization.fit(validation.images).mean).all()


@pytest.mark.parametrize("loss", ["ce", "dice", "ce+dice"])
def test_class_weights_come_from_the_training_masks(tmp_path, loss):
    training, validation = bright_and_dark()
    config = tiny(tmp_path, class_weights="auto", loss=loss)
    trainer = Trainer(config, training, validation)
    expected = suggest_class_weights(count_classes(training.masks, 2))
    assert trainer.class_weights == expected
    assert expected != suggest_class_weights(count_classes(validation.masks, 2))
    assert trainer.loss.class_weights == tuple(expected)
    assert (
        Trainer(replace(config, class_weights="none"), training, validation).class_weights is None
    )


def test_dropout_differs_from_step_to_step_and_repeats_with_the_step(tmp_path):
    config = tiny(tmp_path, dropout=0.5, depth=2, norm="none", lr=1e-30)
    trainer = Trainer(config, *blobs().split(0.34, seed=0))
    batch = trainer.draw_batch(0)
    trainer.draw_batch = lambda step: batch  # the same images and the same weights in every step

    def losses(**changes):
        trainer.config = replace(config, **changes)
        return [float(loss) for _, loss in trainer.steps(0, 4)]

    assert len(set(losses())) == 4
    assert losses() == losses()
    assert losses() != losses(seed=1)
    assert losses()[2:] == [float(loss) for _, loss in trainer.steps(2, 4)]


def test_balanced_sampling_is_what_the_run_learns_from(tmp_path):
    data = blobs(size=(60, 60))  # a blob of 9 x 14 pixels is in few of the crops of 16 x 16
    seen = {}
    for sampling in ("uniform", "balanced"):
        trainer = Trainer(tiny(tmp_path, sampling=sampling), *data.split(0.34, seed=0))
        labels = np.concatenate([trainer.draw_batch(step)[1] for step in range(100)])
        seen[sampling] = labels.any(axis=(1, 2)).mean()
    # A sixth is drawn for the blob, and the rest as before.
    assert abs(seen["balanced"] - (1 / 6 + 5 / 6 * seen["uniform"])) < 0.08


@pytest.mark.parametrize("loss", LOSSES)
def test_a_class_that_no_training_mask_shows_is_never_predicted(tmp_path, loss):
    run(tmp_path, class_names=["ground", "blob", "water"], loss=loss)
    network = load_model(tmp_path / "run" / "last.npz").network
    logits = network(np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype(np.float32))
    assert (logits[..., 2] < logits[..., :2].min() - 1000).all()
    assert np.isfinite(logits).all()


def test_the_loop_that_demos_use_draws_the_batches_of_the_run(tmp_path):
    data = blobs()
    trainer = Trainer(tiny(tmp_path, seed=7, sampling="uniform"), data, data)
    batches = random_batches(
        data, trainer.model.standardization, batch_size=4, crop_size=16, seed=7
    )
    for step in (0, 5):
        for array, expected in zip(batches(step), trainer.draw_batch(step), strict=False):
            np.testing.assert_array_equal(array, expected)
    assert (batches(0)[0] != batches(1)[0]).any()
    usual = random_batches(data, trainer.model.standardization, crop_size=16)
    assert usual(0)[0].shape == (8, 16, 16, 3)


def test_the_loop_trains_with_pixel_weights_and_a_learning_rate_of_its_own():
    data = blobs(2)
    rates, weights_seen, seeds = [], [], []

    class Recording:
        def train(self):
            pass

        def loss_and_gradients(self, images, labels, loss, *, pixel_weights, seed):
            weights_seen.append(pixel_weights)
            seeds.append(seed)
            return 0.0

        def step(self, optimizer):
            rates.append(optimizer.lr)

    class Optimizer:
        lr = 0.5

        def zero_grad(self):
            pass

    batch = (data.images, data.masks, "weights")
    list(training_steps(range(2), lambda step: batch, Recording(), Optimizer(), None))
    list(
        training_steps(
            range(2, 4), lambda step: batch[:2], Recording(), Optimizer(), None, schedule=float
        )
    )
    assert rates == [0.5, 0.5, 2.0, 3.0]
    assert seeds == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert weights_seen == ["weights", "weights", None, None]


def test_the_optimizer_and_its_momentum_are_those_of_the_settings(tmp_path):
    data = blobs()
    adam = Trainer(tiny(tmp_path), data, data).optimizer
    sgd = Trainer(tiny(tmp_path, optimizer="sgd", momentum=0.7), data, data).optimizer
    assert (type(adam).__name__, type(sgd).__name__) == ("Adam", "SGD")
    assert (sgd.momentum, sgd.lr, adam.lr) == (0.7, 1e-2, 1e-2)
    assert TrainingConfig("", "", "").momentum == 0.99


def test_the_validation_loss_is_written_beside_the_training_loss(tmp_path):
    data = blobs().split(0.34, seed=0)
    result = run(tmp_path, steps=8, class_weights="auto", loss="ce+dice")
    row = result.history[-1]
    loss = LOSSES["ce+dice"](result.class_weights)
    assert row["val_loss"] == evaluate(result.model, data[1], loss).loss
    assert float(metrics(tmp_path)[-1]["val_loss"]) == row["val_loss"]
    assert row["val_loss"] != evaluate(result.model, data[1], LOSSES["ce+dice"]()).loss


def test_labels_are_cut_to_the_center_that_valid_convolutions_leave(tmp_path):
    config = tiny(tmp_path, padding="valid", crop_size=20, norm="none")
    trainer = Trainer(config, *blobs().split(0.34, seed=0))
    labels = np.arange(2 * 20 * 28).reshape(2, 20, 28)
    border = (20 - trainer.network.output_length(20)) // 2
    np.testing.assert_array_equal(
        trainer.center_crop(labels), labels[:, border:-border, border:-border]
    )


def test_a_weight_that_is_no_number_stops_the_run_at_the_checkpoint(tmp_path, monkeypatch):
    log = Trainer.log

    def broken(trainer):
        if trainer.step == 8:
            trainer.network.head.bias.data[0] = np.inf
        return log(trainer)

    monkeypatch.setattr(Trainer, "log", broken)
    with pytest.raises(UserError, match="by step 8 the validation loss was nan"):
        run(tmp_path)


def test_all_processes_meet_before_one_writes(tmp_path):
    trainer = Trainer(tiny(tmp_path, steps=1), *blobs().split(0.34, seed=0))
    seen = []
    trainer.communicator.wait = lambda: seen.append(Path(trainer.config.out).exists())
    trainer.run(progress=False)
    assert seen[0] is False and len(seen) > 1


def test_the_preview_knows_what_is_ignored_and_the_seconds_go_on(tmp_path, monkeypatch):
    told = []
    draw = trainer.draw_grid

    def note(rows, names, ignore_index):
        told.append((names, ignore_index))
        return draw(rows, names, ignore_index)

    monkeypatch.setattr(trainer, "draw_grid", note)
    first = run(tmp_path, steps=8, ignore_index=255, class_names=["a", "b"])
    assert told == [(["a", "b"], 255)]
    config = settings_to_resume(tmp_path / "run", steps=16)
    longer = train(config, blobs().split(0.34, seed=0), progress=False)
    seconds = [row["seconds"] for row in longer.history]
    assert 0 < seconds[0] and seconds == sorted(seconds)
    assert seconds[1] > first.history[0]["seconds"]


# -- The same run again ----------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tmp_path / name, seed=seed, dropout=0.2)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert metrics(tmp_path / "a") != metrics(tmp_path / "c")


@pytest.mark.parametrize(
    ("stop", "optimizer"), [(0, "adam"), (3, "adam"), (8, "sgd"), (13, "sgd"), (23, "adam")]
)
def test_a_run_that_was_interrupted_and_resumed_equals_one_that_was_not(
    tmp_path, monkeypatch, stop, optimizer
):
    settings = {"dropout": 0.2, "optimizer": optimizer, "sampling": "balanced"}
    run(tmp_path / "whole", **settings)
    draw = Trainer.draw_batch

    def interrupted(trainer, step):
        if step == stop:
            raise KeyboardInterrupt
        return draw(trainer, step)

    monkeypatch.setattr(Trainer, "draw_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", **settings)
    monkeypatch.undo()
    assert load_training_state(tmp_path / "parts" / "run" / "last.npz").progress["step"] == (
        stop // 8 * 8
    )
    run(tmp_path / "parts", **settings, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run(tmp_path)
    before = (tmp_path / "run" / "last.npz").read_bytes(), metrics(tmp_path)
    (tmp_path / "run" / "curves.png").unlink()  # as if killed just before it was drawn
    result = run(tmp_path, resume=True)
    assert before == ((tmp_path / "run" / "last.npz").read_bytes(), metrics(tmp_path))
    assert (tmp_path / "run" / "curves.png").exists()
    assert result.best_mean_iou is not None


def go_on(settings: dict) -> None:
    """Start a run, or go on with it: what the processes that are killed do."""
    use_operations(os.environ.get("TINYUNET_OPERATIONS", "fast"))
    config = TrainingConfig(**settings)
    config.resume = (Path(config.out) / "last.npz").exists()
    train(config, progress=False)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_run_that_is_killed_again_and_again_ends_at_the_same_weights(tmp_path):
    kills = int(os.environ.get("TINYUNET_KILLS", "20"))
    write_folders(tmp_path, blobs())
    # A checkpoint every step: about half of the time goes into saving, where it is most delicate.
    config = tiny(
        tmp_path, steps=3 * kills, val_interval=1, batch_size=1, base_channels=1, threads=1
    )
    start = time.perf_counter()
    train(replace(config, out=tmp_path / "whole" / "run"), progress=False)
    per_step = (time.perf_counter() - start) / config.steps
    config.out = str(tmp_path / "parts" / "run")
    state = Path(config.out) / "last.npz"
    # Real processes; they fork from one that has imported everything, so they start at once.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    rng = np.random.default_rng(0)
    killed = 0
    while True:
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = processes.Process(target=go_on, args=(asdict(config),))
        process.start()
        # Every fourth at any moment from the start; the others after a checkpoint of their own.
        progress = killed % 4 == 3
        while killed < kills and not progress and process.is_alive():
            progress = state.exists() and state.stat().st_mtime_ns != before
            time.sleep(0.0005)
        if killed < kills:
            time.sleep(rng.uniform(0, 1.5 * per_step))
            process.kill()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        if state.exists():
            load_training_state(state)
    assert killed == kills
    # Nothing of an interrupted write is left.
    assert sorted(path.name for path in state.parent.iterdir()) == ["classes.txt", *FILES]
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_settings_that_decide_the_result_cannot_change_half_way(tmp_path):
    run(tmp_path)
    with pytest.raises(
        UserError, match="has lr 0.01, which cannot be changed to 0.5 when resuming"
    ):
        run(tmp_path, resume=True, lr=0.5)


def test_a_run_can_be_made_longer(tmp_path):
    run(tmp_path)
    config = settings_to_resume(tmp_path / "run", steps=32)
    assert (config.lr, config.batch_size, config.steps, config.resume) == (1e-2, 4, 32, True)
    result = train(config, blobs().split(0.34, seed=0), progress=False)
    assert [row["step"] for row in result.history] == [8, 10, 16, 20, 24, 30, 32]
    assert settings_to_resume(tmp_path / "run").steps == 32


# -- When something is wrong -----------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_in_words_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    draw = Trainer.draw_batch

    def broken(trainer, step):
        images, *others = draw(trainer, step)
        return images * np.float32("nan" if step == 12 else 1), *others

    monkeypatch.setattr(Trainer, "draw_batch", broken)
    with pytest.raises(UserError, match="in step 13 the loss was nan.*keeps the last checkpoint"):
        run(tmp_path)
    assert load_training_state(tmp_path / "run" / "last.npz").progress["step"] == 8
    assert len(metrics(tmp_path)) == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_learning_rate_far_too_large_never_reaches_a_checkpoint(tmp_path):
    with pytest.raises(UserError, match="smaller learning rate than 1e"):
        run(tmp_path, lr=1e6, norm="none")
    state = load_training_state(tmp_path / "run" / "last.npz")
    assert all(np.isfinite(array).all() for array in state.model.network.state_dict().values())


def test_a_run_stops_early_and_stays_stopped(tmp_path, monkeypatch, capsys):
    scores = Scores([[9, 1], [0, 9]])
    scores.loss = 0.5
    monkeypatch.setattr(trainer, "evaluate", lambda *_, **__: scores)
    result = run(tmp_path, val_interval=2, patience=3)
    assert [row["step"] for row in result.history] == [2, 4, 6, 8]
    assert result.best_step == 2
    assert "no better score in 3 validations" in capsys.readouterr().err
    again = run(tmp_path, val_interval=2, patience=3, resume=True)
    assert [row["step"] for row in again.history] == [2, 4, 6, 8]
    longer = run(tmp_path, val_interval=2, patience=4, resume=True)
    assert [row["step"] for row in longer.history] == [2, 4, 6, 8, 10]


def test_a_run_ends_with_advice_on_the_steps(tmp_path, capsys):
    run(tmp_path, val_interval=4)
    assert "step 24 of 24: The validation loss " in capsys.readouterr().err


def test_tiles_of_a_scene_are_split_by_region_or_a_note_is_given(tmp_path):
    tiles = blobs(8, size=(20, 20))
    tiles.stems = [f"scene_r{r:03}_c{c:03}" for r in (0, 20) for c in (0, 20, 40, 60)]
    write_folders(tmp_path, tiles)
    config = tiny(tmp_path, val_split="spatial", val_fraction=0.25)
    _, validation = load_datasets(config, None, False)
    assert validation.stems == ["scene_r000_c060", "scene_r020_c060"]
    with pytest.warns(UserWarning, match="--val-split spatial"):
        load_datasets(tiny(tmp_path), None, False)


def test_border_weights_follow_the_crop_and_hold_the_class_weights(tmp_path):
    pytest.importorskip("scipy", reason="needs the extra 'demos'")
    mask = np.zeros((16, 16), np.uint8)
    mask[4:12, 2:7] = mask[4:12, 8:13] = 1  # two objects, one pixel apart
    mask[:2] = 255
    config = tiny(tmp_path, weight_map=True, class_weights="auto", ignore_index=255)
    data = Dataset(["a"], [np.zeros((16, 16, 3), np.uint8)], [mask])
    trainer = Trainer(config, data, data)
    weights = trainer.pixel_weights(mask)
    plain = np.array(trainer.class_weights)
    np.testing.assert_allclose(weights[mask == 1], plain[1], rtol=1e-6)
    assert weights[8, 7] == pytest.approx(plain[0] + 10 * np.exp(-4 / 50))  # d1 = d2 = 1
    assert trainer.loss.class_weights is None
    _, labels, drawn = trainer.draw_batch(0)
    for label, weight in zip(labels, drawn, strict=True):
        np.testing.assert_array_equal(trainer.pixel_weights(label), weight)


def test_a_run_is_never_overwritten(tmp_path):
    run(tmp_path)
    with pytest.raises(UserError, match="holds a run already.*--resume"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be from 1"),
        ({"threads": 0}, "threads must be from 1"),
        ({"lr": math.nan}, "lr must be from 1e-12"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"momentum": 1.0}, "momentum must be from 0 to 0.9999, and is 1.0"),
        ({"optimizer": "lion"}, "optimizer must be one of adam, sgd"),
        ({"seed": -1}, "seed must be from 0"),
        ({"patience": 0}, "patience must be from 1"),
        ({"loss": "dice", "weight_map": True}, "the Dice loss has no weights"),
        ({"val_split": "spatial"}, "a spatial split needs a scene with room for two parts"),
        ({"norm": "layer"}, "norm must be one of batch, none"),
        ({"val_images": "somewhere"}, "give both or neither"),
        ({"class_names": ["a", "a"]}, "same name"),
        ({"class_names": ["a"]}, "1 class names"),
        ({"crop_size": 64}, "less than half the crop of 64.*at most 40"),
        ({"crop_size": 15}, "15 is not divisible by 2.*14, 16"),
        ({"crop_size": 18, "depth": 2}, "18 is not divisible by 4.*16, 20"),
        ({"resume": True}, "no run to resume"),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda"),
        ({"val_fraction": 1.5}, "1.5"),
        ({"images": "nowhere"}, "nowhere.*no such folder"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_said_before_anything_is_written(tmp_path, changes, message):
    write_folders(tmp_path, blobs())
    with pytest.raises(UserError, match=message):
        train(tiny(tmp_path, **changes), progress=False)
    assert not (tmp_path / "run").exists()


def test_masks_without_a_pixel_that_counts_are_refused(tmp_path):
    data = blobs()
    data.masks[0][:] = 255
    with pytest.raises(UserError, match="every pixel of the validation masks is ignored"):
        train(
            tiny(tmp_path, ignore_index=255),
            (data, data.subset([0])),
            progress=False,
        )


def test_metrics_csv_has_a_column_for_each_class():
    first = {"step": 1, "loss": 0.5, "lr": 0.1, "seconds": 2.0}
    text = metrics_csv([first, first | {"val_loss": 0.4, "iou a,b": 0.3, "iou c": None}])
    assert text.splitlines()[0] == 'step,loss,lr,seconds,val_loss,"iou a,b",iou c'
    row = next(csv.DictReader(text.splitlines()))
    assert row["iou a,b"] == "" and row["loss"] == "0.5"


def test_one_class_alone_is_no_training(tmp_path):
    config = tiny(tmp_path, ignore_index=0, class_names=["nothing", "blob"])
    with pytest.raises(UserError, match="the training masks hold a single class, blob"):
        train(config, blobs().split(0.34, seed=0))
    assert not (tmp_path / "run").exists()


def test_what_fits_no_memory_is_refused_with_what_to_lower(tmp_path, monkeypatch):
    data = blobs().split(0.34, seed=0)
    with pytest.raises(UserError, match="fewer base channels or a smaller depth"):
        train(tiny(tmp_path, base_channels=512, depth=4), data)
    monkeypatch.setattr(memory, "memory", lambda: (1e5, 1e5))
    with pytest.raises(UserError, match="choose a smaller batch or crop size"):
        train(tiny(tmp_path, batch_size=8), data)
    assert not (tmp_path / "run").exists()


def test_a_run_that_another_process_writes_is_left_alone(tmp_path):
    finished = run(tmp_path, steps=6)
    kept = (tmp_path / "run" / "last.npz").read_bytes()
    with sole_writer(tmp_path / "run"), pytest.raises(UserError, match="another process"):
        train(replace(finished.config, steps=12, resume=True), blobs().split(0.34, seed=0))
    assert (tmp_path / "run" / "last.npz").read_bytes() == kept


def test_of_two_runs_that_start_at_once_one_is_refused(tmp_path, monkeypatch):
    # Both have seen that the folder holds no run; the other is faster.
    data, config = blobs().split(0.34, seed=0), tiny(tmp_path, steps=3)
    monkeypatch.setattr(trainer, "sole_writer", started_late(config, data))
    with pytest.raises(UserError, match="holds a run already"):
        train(config, data)


def started_late(config, data):
    """Let a whole other run happen in the moment before a folder is locked."""

    @contextlib.contextmanager
    def locked(folder):
        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setattr(trainer, "sole_writer", sole_writer)
        train(config, data)
        monkeypatch.undo()
        with sole_writer(folder):
            yield

    return locked


def test_a_checkpoint_may_hold_anything_and_is_resumed_or_refused_in_a_line(tmp_path, capsys):
    write_folders(tmp_path, blobs())
    config = tiny(tmp_path, steps=3)
    train(config, progress=False)
    path = tmp_path / "run" / "last.npz"
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(str(arrays.pop("header")))
    images, masks, out = map(str, (config.images, config.masks, config.out))
    resume = ["train", images, masks, "--out", out, "--resume"]
    for place in places(header):
        if place[:1] != ("progress",) and place[:2] != ("metadata", "settings"):
            continue  # as in a model file
        for value in ("x", -1, None, [[1]]):
            text = json.dumps(with_hostile_value(header, place, value))
            np.savez(path, header=np.array(text), **arrays)
            assert main(resume) in (0, 2), (place, value)
