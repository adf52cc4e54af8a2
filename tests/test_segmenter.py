"""The Segmenter: images and masks in, classes out; the same training as the command line's."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyunet
from tests.test_training import blobs, tiny, write_folders
from tinyunet import Segmenter
from tinyunet.cli.main import main
from tinyunet.data.scenes import BUILDING, paint_scenes
from tinyunet.errors import UserError
from tinyunet.inference.evaluation import Scores, confusion_matrix
from tinyunet.training.trainer import train

NAMES = ["ground", "blob"]
QUICK = {"steps": 3, "batch_size": 2, "crop_size": 16, "progress": False}


def small(**options):
    return Segmenter(NAMES, base_channels=2, depth=1, **options)


@pytest.fixture(scope="module")
def trained():
    """Train once for the tests that only look at what came out."""
    data = blobs()
    options = QUICK | {"steps": 60, "batch_size": 4, "lr": 1e-2}
    model = Segmenter(NAMES, base_channels=4, depth=1)
    return model.fit(data.images, data.masks, **options), data


# -- What it is for --------------------------------------------------------------------------------


def test_the_example_of_fifteen_lines_learns_painted_scenes():
    from tinyunet import Segmenter
    from tinyunet.data.scenes import CLASSES, paint_scenes

    scenes, unseen = paint_scenes(8, size=(64, 64)), paint_scenes(2, size=(64, 64), seed=1)
    model = Segmenter(CLASSES, base_channels=8, depth=2)
    model.fit(scenes.images, scenes.masks, steps=60, crop_size=64, lr=1e-2, progress=False)
    classes = model.predict(unseen.images[0])  # (64, 64), the number of a class for each pixel
    probabilities = model.predict_proba(unseen.images[0])  # (64, 64, 5)
    scores = model.evaluate(unseen.images, unseen.masks)

    assert classes.shape == (64, 64) and probabilities.shape == (64, 64, 5)
    assert scores.pixel_accuracy > 0.5
    assert model.losses[-1] < 0.7 * model.losses[0]


def test_few_blobs_are_enough_to_find_others(trained):
    model, _ = trained
    unseen = blobs(count=3, size=(23, 31), seed=9)  # of another, odd size
    assert model.evaluate(unseen.images, unseen.masks).mean_iou > 0.7


def test_the_class_is_the_most_probable_one_and_probabilities_sum_to_one(trained):
    model, data = trained
    probabilities = model.predict_proba(data.images[0])
    assert probabilities.shape == (20, 28, 2)
    np.testing.assert_allclose(probabilities.sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.predict(data.images[0]), probabilities.argmax(axis=2))


def test_evaluation_counts_what_predict_predicts(trained):
    model, data = trained
    predictions = [model.predict(image) for image in data.images]
    expected = confusion_matrix(np.stack(data.masks), np.stack(predictions), 2)
    scores = model.evaluate(data.images, data.masks)
    assert isinstance(scores, Scores)
    np.testing.assert_array_equal(scores.confusion, expected)


def test_fit_takes_the_steps_of_the_command_line(tmp_path):
    data = blobs()
    config = tiny(tmp_path, steps=12, norm="batch", class_weights="auto", loss="ce+dice")
    result = train(config, (data, data), progress=False)
    model = small().fit(
        data.images,
        data.masks,
        steps=12,
        batch_size=config.batch_size,
        crop_size=config.crop_size,
        lr=config.lr,
        loss="ce+dice",
        class_weights="auto",
        progress=False,
    )
    expected = result.model.network.state_dict()
    for name, array in model._model.network.state_dict().items():
        np.testing.assert_array_equal(array, expected[name])
    assert np.mean(model.losses[8:10]) == pytest.approx(result.history[1]["loss"])


def test_fit_starts_anew_each_time_and_the_seed_decides():
    data = blobs()
    first, second, other = small(seed=1), small(seed=1), small(seed=2)
    first.fit(data.images, data.masks, **QUICK)
    assert first.fit(data.images, data.masks, **QUICK) is first
    second.fit(data.images, data.masks, **QUICK)
    other.fit(data.images, data.masks, **QUICK)
    assert first.losses == second.losses != other.losses
    assert len(first.losses) == 3


# -- Files -----------------------------------------------------------------------------------------


def test_a_saved_model_predicts_the_same_here_and_on_the_command_line(trained, tmp_path):
    model, data = trained
    model.save(tmp_path / "model.npz")
    loaded = Segmenter.load(tmp_path / "model.npz")
    assert repr(loaded) == repr(model)
    expected = model.predict(data.images[0])
    np.testing.assert_array_equal(loaded.predict(data.images[0]), expected)
    Image.fromarray(data.images[0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(loaded.predict(tmp_path / "a.png"), expected)
    arguments = ["predict", tmp_path / "model.npz", tmp_path / "a.png", "--out", tmp_path / "maps"]
    assert main([str(argument) for argument in arguments]) == 0
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "maps" / "a.png")), expected)
    with pytest.raises(UserError, match="is RGB of float32, and RGB of uint8 is needed"):
        loaded.predict(data.images[0] / 255)
    Image.fromarray(data.images[0][:, :, 0].astype(np.uint16)).save(tmp_path / "b.png")
    arguments[2] = tmp_path / "b.png"
    assert main([str(argument) for argument in arguments]) == 2


def test_the_command_line_can_tell_where_a_saved_model_is_not_to_be_trusted(tmp_path, capsys):
    data = blobs()
    small().fit(data.images, data.masks, **QUICK).save(tmp_path / "model.npz")
    strange = 255 * np.random.default_rng(0).integers(0, 2, (20, 28, 3)).astype(np.uint8)
    Image.fromarray(strange).save(tmp_path / "strange.png")
    arguments = [tmp_path / "model.npz", tmp_path / "strange.png", "--out", tmp_path / "out"]
    assert main(["predict", *map(str, arguments), "--applicability"]) == 0
    assert "lies outside the area of applicability" in capsys.readouterr().out


def test_a_run_of_the_command_line_can_be_loaded(tmp_path):
    data = blobs()
    config = tiny(
        tmp_path, steps=2, class_names=NAMES, ignore_index=255, padding="valid", crop_size=20
    )
    train(config, (data, data), progress=False)
    model = Segmenter.load(tmp_path / "run" / "model.npz")
    assert (model.config.class_names, model.config.ignore_index, model.config.depth) == (
        NAMES,
        255,
        1,
    )
    assert model.predict(data.images[0]).shape == (20, 28)


def test_folders_lists_of_files_and_arrays_give_the_same(tmp_path):
    data = blobs(3)
    write_folders(tmp_path, data)
    files = [sorted((tmp_path / kind).iterdir()) for kind in ("images", "masks")]
    expected = small().fit(data.images, data.masks, **QUICK).losses
    for images, masks in (
        (tmp_path / "images", str(tmp_path / "masks")),
        files,
        (np.stack(data.images), np.stack(data.masks)),
        (tuple(data.images), tuple(mask == 1 for mask in data.masks)),
    ):
        assert small().fit(images, masks, **QUICK).losses == expected
    one = small().fit(data.images[:1], data.masks[:1], **QUICK).losses
    assert small().fit(files[0][0], files[1][0], **QUICK).losses == one


def test_a_run_of_the_command_line_reads_masks_as_it_did_there(tmp_path):
    data = blobs()
    write_folders(tmp_path, data)
    for path in (tmp_path / "masks").iterdir():
        Image.fromarray(255 * np.array(Image.open(path))).save(path)
    arguments = f"train {tmp_path}/images {tmp_path}/masks --out {tmp_path}/run --steps 2 --depth 1"
    assert main([*arguments.split(), "--crop-size", "16", "--base-channels", "2"]) == 0
    model = Segmenter.load(tmp_path / "run" / "model.npz")
    scores = model.evaluate(tmp_path / "images", tmp_path / "masks")
    expected = confusion_matrix(
        np.stack(data.masks), np.stack([*map(model.predict, data.images)]), 2
    )
    np.testing.assert_array_equal(scores.confusion, expected)


def test_pixels_without_data_have_no_class():
    data = blobs()
    images = [image.astype(np.float64) for image in data.images]
    images[0][:4] = np.nan
    model = small().fit(images, data.masks, **QUICK)
    classes = model.predict(images[0])
    assert (classes[:4] == 255).all() and (classes[4:] < 2).all()
    assert model.evaluate(images, data.masks).confusion.sum() == (6 * 20 - 4) * 28


# -- Images of every kind --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "float64"])
def test_the_range_of_the_numbers_does_not_matter(kind):
    """The same picture as bytes, in 16 bits, and as 0 to 1: standardized, it is the same."""
    data = blobs()
    factor = {"uint8": 1, "uint16": 257, "float32": 1 / 255, "float64": 1 / 255}[kind]
    images = [(image * float(factor)).astype(kind) for image in data.images]
    losses = small().fit(images, data.masks, **QUICK).losses
    np.testing.assert_allclose(losses, small().fit(data.images, data.masks, **QUICK).losses, 1e-3)


def test_gray_images_need_no_axis_for_their_channel():
    data = blobs()
    gray = [image[:, :, 0] for image in data.images]
    model = small().fit(gray, data.masks, **QUICK)
    assert model.predict(gray[0]).shape == (20, 28)
    with pytest.raises(UserError, match="the image: is RGB of uint8, and gray of uint8 is needed"):
        model.predict(data.images[0])


def test_ignored_pixels_do_not_count():
    data = blobs()
    masks = [mask.astype(np.int64) for mask in data.masks]
    masks[0][:5] = 255
    model = small(ignore_index=255).fit(data.images, masks, **QUICK)
    assert model.evaluate(data.images, masks).confusion.sum() == 6 * 20 * 28 - 5 * 28


def test_rare_classes_can_count_more():
    scenes = paint_scenes(2, (64, 64))
    masks = [(mask == BUILDING).astype(np.uint8) for mask in scenes.masks]
    masks[0][0, 0] = 1
    losses = [
        small().fit(scenes.images, masks, **QUICK, class_weights=how).losses
        for how in ("none", "auto")
    ]
    assert losses[0] != losses[1]


# -- What a person may get wrong -------------------------------------------------------------------

IMAGE, MASK = np.zeros((20, 28, 3), np.uint8), np.zeros((20, 28), np.uint8)
NAN = np.full((20, 28, 3), np.nan)


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (
            [np.zeros((3, 20, 28))],
            [MASK],
            r"image 0: expected numbers \(H, W, C\), channels last, got float64 \(3",
        ),
        ([IMAGE[None]], [MASK], r"channels last, got uint8 \(1, 20, 28, 3\)"),
        ([NAN, NAN], [MASK, MASK], "all are missing"),
        ([IMAGE.astype(str)], [MASK], "image 0: expected numbers .*got <U"),
        ([IMAGE, IMAGE / 255], [MASK, MASK], "image 1: is RGB of float32, and RGB of uint8"),
        ([IMAGE[:, :, :1], IMAGE], [MASK, MASK], "image 1: is RGB .*, and gray of uint8 is needed"),
        (IMAGE, [MASK], "one mask for each image"),
        ([IMAGE], MASK, "one mask for each image"),
        (IMAGE[None], "masks", "one mask for each image"),
        (IMAGE, MASK, r"mask 0: expected numbers \(H, W, C\), channels last, got uint8 \(28,\)"),
        ([IMAGE], [MASK[:, :-1]], "mask 0: has 20 x 27 pixels, but its image .* 20 x 28"),
        ([IMAGE], [IMAGE[:, :, :2]], "mask 0: has 2 channels of uint8"),
        ([IMAGE], [MASK + 0.5], "mask 0: holds numbers such as 0.5"),
        ([IMAGE], [MASK + 255], r"mask 0: holds 255 \(560 .*list \(ground: 0; blob: 1\)"),
        ([IMAGE], [MASK.astype(int) - 1], "mask 0: holds -1"),
        ([IMAGE, IMAGE], [MASK], "one mask for each image"),
        ([], [], "one mask for each image"),
        ("nowhere", "nowhere", "nowhere.*no such"),
        ([IMAGE[:7]], [MASK[:7]], "7 x 28 pixels.*less than half the crop of 16"),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_expected(images, masks, message):
    with pytest.raises(UserError, match=message):
        small().fit(images, masks, **QUICK)


@pytest.mark.parametrize("wrong", [{"loss": "hinge"}, {"class_weights": "many"}])
def test_an_unknown_choice_is_refused_with_the_known_ones(wrong):
    with pytest.raises(UserError, match="must be one of (ce, dice|auto, none)"):
        small().fit([IMAGE], [MASK], **QUICK, **wrong)


def test_a_crop_that_cannot_be_halved_is_refused():
    with pytest.raises(UserError, match="17 is not divisible by 2"):
        small().fit([IMAGE], [MASK], **QUICK | {"crop_size": 17})


@pytest.mark.parametrize("classes", ["meadow", 3, ["meadow"], []])
def test_classes_are_a_list_of_names(classes):
    with pytest.raises(UserError, match="list of at least two names"):
        Segmenter(classes)


def test_numbers_that_make_no_network_are_refused_at_once():
    with pytest.raises(UserError, match="depth must be from 1 to 12, and is 0"):
        Segmenter(NAMES, depth=0)


@pytest.mark.parametrize("use", [lambda m: m.predict(IMAGE), lambda m: m.save("model.npz")])
def test_nothing_can_be_predicted_or_saved_before_training(use):
    with pytest.raises(UserError, match="not trained yet: call fit first"):
        use(small())


def test_a_stack_of_images_is_predicted_one_by_one(trained):
    with pytest.raises(UserError, match=r"the image: expected numbers \(H, W, C\)"):
        trained[0].predict(np.stack([IMAGE, IMAGE]))


# -- What it says of itself ------------------------------------------------------------------------


def test_its_repr_says_what_it_is(trained):
    text = "Segmenter(classes=['ground', 'blob'], base_channels=4, depth=1)"
    assert repr(Segmenter(NAMES, base_channels=4, depth=1)) == f"{text}: not trained yet"
    assert repr(trained[0]) == f"{text}: trained"


def test_a_network_has_16_channels_and_depth_4_unless_told_otherwise():
    assert "base_channels=16, depth=4" in repr(Segmenter(NAMES))


def test_names_of_the_package_hide_none_of_its_modules():
    package = Path(tinyunet.__file__).parent
    modules = {path.stem for path in package.iterdir()}
    assert not modules & set(tinyunet.__all__)
    assert all(hasattr(tinyunet, name) for name in tinyunet.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        tinyunet.Segmentor  # noqa: B018


def test_importing_the_package_is_quick_and_draws_nothing_in():
    code = "import sys, tinyunet; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "tinyunet.nn.operations" in modules
    heavy = {"numpy", "matplotlib", "PIL", "tqdm", "scipy", "cupy", "tinyunet.segmenter"}
    assert not heavy & set(modules)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import numpy"], check=True)
    numpy_alone = time.perf_counter() - start
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tinyunet"], check=True)
    assert time.perf_counter() - start < 3 * numpy_alone + 0.3
