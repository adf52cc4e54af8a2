"""Model files: they come back as they went, and no accident or stranger's file does harm."""

import errno
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyunet import checkpoint
from tinyunet.atomic_io import remove_leftovers, written_aside
from tinyunet.checkpoint import (
    Model,
    load_model,
    load_training_state,
    save_model,
)
from tinyunet.errors import UserError
from tinyunet.nn.optimizers import Adam
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet


def tiny_model(seed=0) -> Model:
    network = UNet(3, 2, base_channels=2, depth=1, norm="batch", seed=seed)
    standardization = Standardization([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    known = {"features": features, "folds": np.array([0, 1, 1])}
    names, note = ["gras", "Bäume"], {"note": [1, 2.5, None]}
    return Model(network, standardization, names, 255, note, known, threshold=0.4)


def assert_same(a: Model, b: Model) -> None:
    assert a.network.config == b.network.config
    left, right = a.network.state_dict(), b.network.state_dict()
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name])
    np.testing.assert_array_equal(a.standardization.mean, b.standardization.mean)
    np.testing.assert_array_equal(a.standardization.std, b.standardization.std)
    assert a.training_features.keys() == b.training_features.keys()
    for name, array in a.training_features.items():
        np.testing.assert_array_equal(array, b.training_features[name])
    for name in ("class_names", "ignore_index", "metadata", "threshold"):
        assert getattr(a, name) == getattr(b, name)


def saved_bytes() -> bytes:
    """Make the bytes of a good model file."""
    header, arrays = checkpoint.pack(tiny_model())
    file = io.BytesIO()
    np.savez(file, header=np.array(json.dumps(header)), **arrays)
    return file.getvalue()


GOOD = saved_bytes()


def test_a_model_comes_back_as_it_was(tmp_path):
    model = tiny_model(seed=3)
    save_model(tmp_path / "model.npz", model)
    assert_same(load_model(tmp_path / "model.npz"), model)
    assert os.listdir(tmp_path) == ["model.npz"]


def test_a_loaded_model_predicts_the_same(xp, tmp_path):
    model = tiny_model()
    save_model(tmp_path / "model.npz", model)
    image = xp.asarray(np.random.default_rng(0).normal(size=(1, 4, 6, 3)).astype("float32"))
    expected = model.network.eval()(image)
    logits = load_model(tmp_path / "model.npz").network(image)
    assert float(abs(logits - expected).max()) == 0


def test_numpy_opens_a_model_file_without_us(tmp_path):
    save_model(tmp_path / "model.npz", tiny_model())
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert json.loads(str(file["header"]))["network"]["base_channels"] == 2
        assert file["network/encoder.0.conv1.weight"].shape == (3, 3, 3, 2)


def test_class_names_are_made_up_where_none_are_given(tmp_path):
    model = tiny_model()
    save_model(tmp_path / "m.npz", Model(model.network, model.standardization))
    loaded = load_model(tmp_path / "m.npz")
    assert loaded.class_names == ["class 0", "class 1"]
    assert loaded.ignore_index is None


def test_too_few_class_names_are_refused():
    model = tiny_model()
    with pytest.raises(UserError, match="1 class names for 2 classes"):
        Model(model.network, model.standardization, ["one"])


def test_more_classes_than_a_byte_counts_are_refused():
    network = UNet(1, 256, base_channels=1, depth=1)
    with pytest.raises(UserError, match="256 classes: .* at most 255"):
        Model(network, Standardization(np.zeros(1), np.ones(1)))


def test_a_training_state_comes_back_and_is_a_model_too(tmp_path):
    model = tiny_model()
    optimizer = Adam(model.network.parameters(), 0.1)
    for parameter in model.network.parameters():
        parameter.grad = parameter.data + 1
    optimizer.step()
    progress = {"step": 1, "history": [{"loss": 0.1 + 0.2}], "best": None}
    save_model(tmp_path / "last.npz", model, optimizer, progress)

    state = load_training_state(tmp_path / "last.npz")
    assert_same(state.model, model)
    assert state.progress == progress
    fresh = Adam(state.model.network.parameters(), 0.1)
    fresh.load_state_dict(state.optimizer)
    for name, array in optimizer.state_dict().items():
        np.testing.assert_array_equal(fresh.state_dict()[name], array)
    assert_same(load_model(tmp_path / "last.npz"), model)


def test_a_model_is_no_training_state(tmp_path):
    save_model(tmp_path / "model.npz", tiny_model())
    with pytest.raises(UserError, match="last.npz"):
        load_training_state(tmp_path / "model.npz")


# -- Files that are not ours -----------------------------------------------------------------------


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def with_header(**changes) -> bytes:
    header, arrays = checkpoint.pack(tiny_model())
    return npz(header=np.array(json.dumps(header | changes)), **arrays)


def compressed_bomb() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, header=np.zeros(10_000_000, dtype=np.uint8))
    return file.getvalue()


class Mine:
    """Were this unpickled, it would leave a folder behind."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or not a tinyunet model"),
        (b"hello", "damaged or not a tinyunet model"),
        (pickle.dumps(Mine()), "damaged or not a tinyunet model"),
        (npz(weights=np.zeros(3)), "it has no header"),
        (npz(header=np.array([Mine()], dtype=object)), "damaged or not a tinyunet model"),
        (npz(header=np.array("not JSON")), "damaged or not a tinyunet model"),
        (npz(header=np.array("[1, 2]")), "damaged or not a tinyunet model"),
        (with_header(format="someone else's"), "damaged or not a tinyunet model"),
        (with_header(version=99), "newer tinyunet.*pip install --upgrade"),
        (with_header(network={"no_such_setting": 1}), "is damaged"),
        (with_header(network={"in_channels": 3, "classes": 5}), "is damaged"),
        (with_header(class_names=["one"]), "is damaged"),
        (compressed_bomb(), "compressed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_strange_file_gives_one_clear_error_and_runs_nothing(
    content, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("model.npz").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_model("model.npz")
    assert "model.npz" in str(error.value)
    assert os.listdir() == ["model.npz"]  # nothing exploded


@pytest.mark.parametrize(
    "changed",
    [
        {"features": np.zeros((3, 5), np.float32)},
        {"features": np.full((3, 2), np.nan, np.float32)},
        {"features": np.zeros((3, 2), int)},
        {"folds": np.zeros(4, int)},
        {"folds": np.zeros(3)},
        {"folds": np.zeros((3, 1), int)},
        {"more": np.zeros(3)},
    ],
    ids=str,
)
def test_training_features_that_do_not_fit_are_refused(tmp_path, changed):
    header, arrays = checkpoint.pack(tiny_model())
    arrays |= {f"training_features/{name}": array for name, array in changed.items()}
    (tmp_path / "model.npz").write_bytes(npz(header=np.array(json.dumps(header)), **arrays))
    with pytest.raises(UserError, match="model.npz: is"):
        load_model(tmp_path / "model.npz")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(UserError, match="no such model file.*nowhere"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no such model file"):
        load_model(tmp_path)


@given(st.integers(0, len(GOOD) - 1))
def test_a_truncated_file_is_refused(tmp_path, length):
    path = tmp_path / "model.npz"
    path.write_bytes(GOOD[:length])
    with pytest.raises(UserError):
        load_model(path)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_damaged_byte_is_noticed_or_harmless(tmp_path, position, change):
    path = tmp_path / "model.npz"
    content = bytearray(GOOD)
    content[position] ^= change
    path.write_bytes(content)
    try:
        loaded = load_model(path)
    except UserError:
        return
    assert_same(loaded, tiny_model())  # it was a byte that says nothing, such as a date


@pytest.mark.parametrize("name", ["header", "network/head.weight", "standardization/std"])
@pytest.mark.parametrize("change", [("<f4", "<f2"), ("<f4", "<i4"), ("(", "[")])
def test_an_array_that_says_another_type_than_it_was_saved_with_is_refused(tmp_path, name, change):
    # numpy.load reads half the bytes of such a member, never comes to its checksum, and is content.
    path = tmp_path / "model.npz"
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        start = GOOD.index(b"\x93NUMPY", archive.getinfo(name + ".npy").header_offset)
    header = GOOD[start : start + 128]
    changed = header.replace(*(text.encode() for text in change), 1)
    path.write_bytes(GOOD[:start] + changed + GOOD[start + 128 :])
    if changed == header:
        assert_same(load_model(path), tiny_model())
    else:
        with pytest.raises(UserError, match="damaged"):
            load_model(path)


HOSTILE = (None, True, -1, 0, 10**30, 0.5, float("nan"), "x", "\x1b[2J", [], ["x", "y"], {}, [[[]]])


def places(value, path=()):
    """List the way to each value in a JSON text."""
    inside = value.items() if isinstance(value, dict) else ()
    return [path] + [place for key, part in inside for place in places(part, (*path, key))]


def with_hostile_value(header: dict, place: tuple, value) -> dict:
    """Copy a header with another value at a place; `KeyError` in its stead leaves it out."""
    if not place:
        return value
    inside = with_hostile_value(header[place[0]], place[1:], value)
    return {
        key: part for key, part in (header | {place[0]: inside}).items() if part is not KeyError
    }


@pytest.mark.parametrize("place", places(checkpoint.pack(tiny_model())[0]), ids=str)
def test_a_header_may_hold_anything_and_does_no_harm(tmp_path, place):
    header, arrays = checkpoint.pack(tiny_model())
    for value in (*HOSTILE, KeyError):
        if place or value is not KeyError:
            changed = json.dumps(with_hostile_value(header, place, value))
            (tmp_path / "model.npz").write_bytes(npz(header=np.array(changed), **arrays))
            try:
                model = load_model(tmp_path / "model.npz")
            except UserError as error:
                assert "\x1b" not in str(error)
                continue
            for name, array in model.network.state_dict().items():
                np.testing.assert_array_equal(array, arrays[f"network/{name}"])
            assert all(name.isprintable() for name in model.class_names)


@pytest.mark.parametrize("size", ["depth", "base_channels", "in_channels", "classes"])
@pytest.mark.parametrize("value", [60, 2**40, 10**300])
def test_a_header_takes_no_memory_that_the_file_does_not_have(tmp_path, monkeypatch, size, value):
    header, arrays = checkpoint.pack(tiny_model())
    header["network"] |= {size: value}
    (tmp_path / "model.npz").write_bytes(npz(header=np.array(json.dumps(header)), **arrays))
    monkeypatch.setattr(checkpoint, "UNet", lambda **config: pytest.fail("a network was made"))
    with pytest.raises(UserError, match="is damaged"):
        load_model(tmp_path / "model.npz")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network/head.weight", np.nan),
        ("network/head.bias", np.inf),
        ("network/bottleneck.norm1.running_variance", -1),
        ("standardization/mean", np.nan),
        ("standardization/std", 0),
        ("standardization/std", -1),
    ],
)
def test_numbers_that_make_no_sense_are_refused(tmp_path, name, value):
    header, arrays = checkpoint.pack(tiny_model())
    arrays[name] = arrays[name].copy()
    arrays[name].flat[0] = value
    (tmp_path / "model.npz").write_bytes(npz(header=np.array(json.dumps(header)), **arrays))
    with pytest.raises(UserError, match="model.npz: is damaged"):
        load_model(tmp_path / "model.npz")


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, 1, "0.5", [0.5], float("nan")])
def test_a_threshold_that_is_no_share_is_refused(tmp_path, threshold):
    header, arrays = checkpoint.pack(tiny_model())
    header["threshold"] = threshold
    (tmp_path / "model.npz").write_bytes(npz(header=np.array(json.dumps(header)), **arrays))
    with pytest.raises(UserError, match="model.npz: is damaged"):
        load_model(tmp_path / "model.npz")


def test_a_threshold_is_for_two_classes(tmp_path):
    model = tiny_model()
    model.network, model.class_names = UNet(3, 3, base_channels=2, depth=1), list("abc")
    save_model(tmp_path / "model.npz", model)
    with pytest.raises(UserError, match="model.npz: is damaged"):
        load_model(tmp_path / "model.npz")


def test_too_little_memory_is_not_the_files_fault(tmp_path, monkeypatch):
    def exhausted(**config):
        raise MemoryError

    save_model(tmp_path / "model.npz", tiny_model())
    monkeypatch.setattr(checkpoint, "UNet", exhausted)
    with pytest.raises(MemoryError):
        load_model(tmp_path / "model.npz")


def test_an_array_that_claims_to_be_huge_is_refused(tmp_path):
    path = tmp_path / "model.npz"
    header, arrays = checkpoint.pack(tiny_model())
    fake = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        fake, {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in {"header": np.array(json.dumps(header)), **arrays}.items():
            part = io.BytesIO()
            np.save(part, array)
            archive.writestr(name + ".npy", part.getvalue())
        archive.writestr("network/huge.npy", fake.getvalue())
    with pytest.raises(UserError):
        load_model(path)


# -- Accidents while writing -----------------------------------------------------------------------


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyError), written_aside(path) as file:
        file.write(b"half of the new")
        raise KeyError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    save_model(path, tiny_model(seed=1))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot write .*model.npz: No space left on device"):
        save_model(path, tiny_model(seed=2))
    monkeypatch.undo()
    assert_same(load_model(path), tiny_model(seed=1))
    assert os.listdir(tmp_path) == ["model.npz"]


def test_a_folder_that_is_missing_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match="cannot write .*No such file or directory"):
        save_model(tmp_path / "nowhere" / "model.npz", tiny_model())


SAVE_FOR_EVER = """
import sys
from tinyunet.checkpoint import load_model, save_model

path, *others = sys.argv[1:]
models = [load_model(other) for other in others]
print("started", flush=True)
while True:
    for model in models:
        save_model(path, model)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_killed_while_saving_leaves_a_complete_file(tmp_path):
    path, others = tmp_path / "model.npz", [tmp_path / "1.npz", tmp_path / "2.npz"]
    for seed, other in enumerate(others, start=1):
        save_model(other, tiny_model(seed))
    save_model(path, tiny_model(seed=1))
    for wait in np.random.default_rng(0).uniform(0, 0.03, 4):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOR_EVER, path, *others],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        assert process.stdout.readline() == b"started\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(wait)
        process.kill()
        process.wait()
        process.stdout.close()
        loaded = load_model(path).network
        expected = tiny_model(loaded.config["seed"]).network.state_dict()
        for name, array in loaded.state_dict().items():
            np.testing.assert_array_equal(array, expected[name])
    remove_leftovers.cache_clear()  # as in a new process
    save_model(path, tiny_model(seed=5))
    assert not list(tmp_path.glob(".*"))  # what a kill left behind does not stay for ever


@pytest.mark.parametrize(
    "wrong",
    [
        {"dtype": 5},
        {"color": None},
        {"band_names": [1, 2]},
        {"bands": ["1"]},
        {"alpha": 3},
        {"high": 1},
    ],
    ids=str,
)
def test_an_image_format_of_wrong_types_is_no_model(tmp_path, wrong):
    model = tiny_model()
    right = {"dtype": "uint8", "color": "RGB", "band_names": ["red", "green", "blue"]}
    model.metadata["class_table"] = "ground: 0\nroof: 1"
    model.metadata["image_format"] = right
    save_model(tmp_path / "right.npz", model)
    load_model(tmp_path / "right.npz")
    model.metadata["image_format"] = right | wrong
    save_model(tmp_path / "wrong.npz", model)
    with pytest.raises(UserError, match=r"wrong.npz: is damaged .*is no format of images"):
        load_model(tmp_path / "wrong.npz")
