"""Training: it learns, repeats itself bit for bit, survives accidents, says what is wrong."""

import csv
import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinyunet import training
from tinyunet.checkpoint import load_model, load_training_state
from tinyunet.data.folder import Dataset
from tinyunet.errors import UserError
from tinyunet.evaluation import Scores, evaluate
from tinyunet.training import (
    Trainer,
    TrainingConfig,
    balanced_weights,
    settings_to_resume,
    train,
)

FILES = ["config.json", "curves.png", "last.npz", "metrics.csv", "model.npz", "preview.png"]


@pytest.fixture(autouse=True)
def quick_curves(monkeypatch):
    """Leave out the drawing of curves, half the time of these tiny runs; see `test_pictures`."""
    monkeypatch.setattr(training, "plot_curves", lambda metrics, path: path.touch())


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
        batch=4,
        crop=16,
        base=2,
        depth=1,
        lr=1e-2,
        val_every=8,
        threads=2,
        device="cpu",
    )
    return replace(config, **changes)


def run(folder: Path, **changes):
    """Train on the blobs, in memory."""
    data = blobs()
    return train(tiny(folder, **changes), data.split(0.34, seed=0), progress=False)


def weights(folder: Path, name="last.npz") -> dict:
    return load_model(folder / "run" / name).network.state()


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
    config = tiny(tmp_path, steps=60, val_every=20, base=4, class_names=["ground", "blob"])
    result = train(config, progress=False)
    out = tmp_path / "run"
    assert sorted(path.name for path in out.iterdir()) == FILES
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
    assert evaluate(model, data[1]).mean_iou == result.best_mean_iou
    assert model.metadata["step"] == result.best_step
    assert model.metadata["validation"]["mean_iou"] == result.best_mean_iou
    last = load_model(tmp_path / "run" / "last.npz")
    assert evaluate(last, data[1]).mean_iou == result.history[-1]["val_mean_iou"]


@pytest.mark.parametrize(
    "changes",
    [
        {"padding": "valid", "crop": 20, "norm": "none"},
        {"up": "nearest", "dropout": 0.3, "depth": 2},
        {"class_weights": "auto", "ignore_index": 255, "threads": 1},
        {"ignore_index": 0, "class_names": ["nothing", "blob"]},
        {"batch": 1, "threads": 3},
    ],
    ids=str,
)
def test_every_kind_of_network_and_mask_can_be_trained(tmp_path, changes):
    result = run(tmp_path, steps=3, **changes)
    assert math.isfinite(result.history[-1]["loss"])
    assert load_model(tmp_path / "run" / "model.npz").ignore_index == changes.get("ignore_index")


def test_it_trains_on_every_device(xp, tmp_path):
    device = "cpu" if xp.module is np else "cuda"
    result = run(tmp_path, steps=3, device=device)
    assert math.isfinite(result.history[-1]["loss"])


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
            fetched.append(trainer.finished)
            return 0.5

    data = blobs().split(0.34, seed=0)
    trainer = Trainer(tiny(tmp_path), *data)
    monkeypatch.setattr(trainer.replicas, "loss_and_gradients", lambda *_, **__: Loss(0.5))
    monkeypatch.setattr(trainer.optimizer, "step", lambda: None)
    trainer.run(progress=False)
    assert sorted(set(fetched)) == [8, 10, 16, 20, 24]


# -- The same run again ----------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tmp_path / name, seed=seed, dropout=0.2)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert metrics(tmp_path / "a") != metrics(tmp_path / "c")


@pytest.mark.parametrize("stop", [0, 3, 8, 13, 23])
def test_a_run_that_was_interrupted_and_resumed_equals_one_that_was_not(
    tmp_path, monkeypatch, stop
):
    run(tmp_path / "whole", dropout=0.2)
    step = Trainer.step

    def interrupted(trainer):
        if trainer.finished == stop:
            raise KeyboardInterrupt
        step(trainer)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", dropout=0.2)
    monkeypatch.undo()
    assert load_training_state(tmp_path / "parts" / "run" / "last.npz").progress["step"] == (
        stop // 8 * 8
    )
    run(tmp_path / "parts", dropout=0.2, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run(tmp_path)
    before = (tmp_path / "run" / "last.npz").read_bytes(), metrics(tmp_path)
    (tmp_path / "run" / "curves.png").unlink()  # as if killed just before it was drawn
    result = run(tmp_path, resume=True)
    assert before == ((tmp_path / "run" / "last.npz").read_bytes(), metrics(tmp_path))
    assert (tmp_path / "run" / "curves.png").exists()
    assert result.best_mean_iou is not None


TRAIN = """
import json, sys
from pathlib import Path
from tinyunet.training import TrainingConfig, train

config = TrainingConfig(**json.loads(sys.argv[1]))
config.resume = (Path(config.out) / "last.npz").exists()
train(config, progress=False)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_that_is_killed_again_and_again_ends_at_the_same_weights(tmp_path):
    write_folders(tmp_path, blobs())
    config = tiny(tmp_path, steps=40, val_every=5)
    train(replace(config, out=tmp_path / "whole" / "run"), progress=False)
    config.out = str(tmp_path / "parts" / "run")
    rng = np.random.default_rng(0)
    state = tmp_path / "parts" / "run" / "last.npz"
    killed = 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, json.dumps(asdict(config))],
            cwd=Path(__file__).parent.parent,
        )
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and killed < 3:
            time.sleep(0.005)
            if state.exists() and state.stat().st_mtime_ns != before:
                time.sleep(rng.uniform(0, 0.3))  # a random moment after its first checkpoint
                process.kill()
                process.wait()
                killed += 1
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL
        load_training_state(state)
    assert killed
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_settings_that_decide_the_result_cannot_change_half_way(tmp_path):
    run(tmp_path)
    with pytest.raises(UserError, match="has lr 0.01, which can't become 0.5"):
        run(tmp_path, resume=True, lr=0.5)
    with pytest.raises(UserError, match="has done 24 steps already"):
        run(tmp_path, resume=True, steps=10)


def test_a_run_can_be_made_longer(tmp_path):
    run(tmp_path)
    config = settings_to_resume(tmp_path / "run", steps=32)
    assert (config.lr, config.batch, config.steps, config.resume) == (1e-2, 4, 32, True)
    result = train(config, blobs().split(0.34, seed=0), progress=False)
    assert [row["step"] for row in result.history] == [8, 10, 16, 20, 24, 30, 32]
    assert settings_to_resume(tmp_path / "run").steps == 32


# -- When something is wrong -----------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_in_words_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    step = Trainer.step

    def broken(trainer):
        step(trainer)
        if trainer.finished == 13:
            trainer.losses[-1] = trainer.losses[-1] * np.float32("nan")

    monkeypatch.setattr(Trainer, "step", broken)
    with pytest.raises(UserError, match="loss became nan in step 13.*checkpoint of step 8"):
        run(tmp_path)
    assert load_training_state(tmp_path / "run" / "last.npz").progress["step"] == 8
    assert len(metrics(tmp_path)) == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_learning_rate_far_too_large_never_reaches_a_checkpoint(tmp_path):
    with pytest.raises(UserError, match="smaller learning rate than 1e"):
        run(tmp_path, lr=1e38, norm="none")
    state = load_training_state(tmp_path / "run" / "last.npz")
    assert all(np.isfinite(array).all() for array in state.model.network.state().values())


def test_predicting_one_class_only_is_said_in_words(tmp_path, capsys):
    trainer = Trainer(tiny(tmp_path, class_names=["ground", "blob"]), *blobs().split(0.5, seed=0))
    trainer.warn_of_one_class(Scores.from_confusion([[5, 1], [1, 5]]))
    trainer.warn_of_one_class(Scores.from_confusion([[5, 0], [0, 0]]))  # there is only one
    assert capsys.readouterr().err == ""
    trainer.warn_of_one_class(Scores.from_confusion([[90, 0], [10, 0]]))
    assert "predicts 'ground' for every validation pixel" in capsys.readouterr().err


def test_a_run_is_never_overwritten(tmp_path):
    run(tmp_path)
    with pytest.raises(UserError, match="holds a run already.*--resume"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"lr": math.nan}, "lr must be above 0"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"seed": -1}, "seed must not be negative"),
        ({"norm": "layer"}, "norm must be one of batch, none"),
        ({"val_images": "somewhere"}, "give both or neither"),
        ({"class_names": ["a", "a"]}, "same name"),
        ({"class_names": ["a"]}, "value 1"),
        ({"crop": 32}, "smaller than the crop of 32.*at most 20"),
        ({"crop": 15}, "15 is not divisible by 2.*14, 16"),
        ({"crop": 18, "depth": 2}, "18 is not divisible by 4.*16, 20"),
        ({"resume": True}, "no run to resume"),
        ({"device": "tpu"}, "unknown device"),
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
    with pytest.raises(UserError, match="no pixel of the validation masks counts"):
        train(
            tiny(tmp_path, ignore_index=255),
            (data, data.subset([0])),
            progress=False,
        )


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=6).filter(any),
    st.none() | st.integers(0, 7),
)
def test_class_weights_favour_rare_classes_and_average_to_one(counts, ignore_index):
    counted = [0 if index == ignore_index else count for index, count in enumerate(counts)]
    if not any(counted):
        return
    weights = balanced_weights(counts, ignore_index)
    total = sum(counted)
    assert sum(w * count for w, count in zip(weights, counted, strict=True)) == pytest.approx(total)
    for w, count in zip(weights, counted, strict=True):
        assert (w > 0) == (count > 0)
        for other, other_count in zip(weights, counted, strict=True):
            if 0 < count < other_count:
                assert w > other
                assert w / other == pytest.approx(math.sqrt(other_count / count))


def test_metrics_csv_has_a_column_for_each_class():
    text = training.metrics_csv([{"step": 1, "loss": 0.5, "lr": 0.1, "seconds": 2.0}], ["a,b", "c"])
    assert text.splitlines()[0].startswith("step,loss,lr,val_mean_iou,val_pixel_accuracy,")
    row = next(csv.DictReader(text.splitlines()))
    assert row["iou a,b"] == "" and row["loss"] == "0.5"
