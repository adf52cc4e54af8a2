"""The area of applicability: on points whose answer is known, against scipy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.test_training import blobs, run, write_folders
from tinyunet.backend import to_host
from tinyunet.checkpoint import Model, load_model, save_model
from tinyunet.cli.main import main
from tinyunet.data.dataset import Dataset
from tinyunet.data.images import Place, open_raster
from tinyunet.data.maps import raster_file
from tinyunet.errors import UserError
from tinyunet.inference.applicability import (
    Applicability,
    mark_applicability,
    sample_features,
    without_head,
)
from tinyunet.inference.sliding_window import predict_tiles
from tinyunet.nn.functional import relu
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet


def column(*values):
    return np.array(values, float)[:, None]


# -- The index and its threshold -------------------------------------------------------------------


def test_the_index_is_the_distance_to_the_nearest_in_units_of_the_mean_distance():
    # Distances 1, 3, 6, 2, 5, 3: their mean is 10/3. Nearest of the other fold: 1, 1, 2, 3.
    area = Applicability(column(0, 1, 3, 6), np.array([0, 1, 0, 1]))
    assert area.threshold == pytest.approx(3 / (10 / 3))  # the box's whisker would be beyond
    index = area.dissimilarity(column(2, 9, 1, -10).reshape(2, 2, 1))
    np.testing.assert_allclose(index, [[0.3, 0.9], [0, 3]], atol=1e-6)


def test_an_outlier_among_the_training_pixels_does_not_move_the_threshold():
    cloud = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    folds = np.arange(11) % 2
    area = Applicability(column(*cloud, 1000), folds)
    # The nearest of the other fold is 1 away, or 991: a box of no length, with its whisker at 1.
    unit = np.mean([abs(a - b) for a in [*cloud, 1000] for b in [*cloud, 1000] if a != b])
    assert area.threshold == pytest.approx(1 / unit)
    assert (area.dissimilarity(column(12)[None]) > area.threshold).all()


def test_neighbors_of_the_same_fold_do_not_lower_the_threshold():
    points = np.random.default_rng(0).normal(size=(40, 3))
    folds = np.arange(40) % 5
    alone = Applicability(points, folds)
    twins = Applicability(np.repeat(points, 2, axis=0), np.repeat(folds, 2))
    assert twins.threshold * twins.unit == pytest.approx(alone.threshold * alone.unit)
    apart = Applicability(np.repeat(points, 2, axis=0), np.arange(80))
    assert apart.threshold < 1e-6


def test_a_second_cloud_far_away_lies_outside_and_the_same_cloud_inside():
    rng = np.random.default_rng(0)
    training, same, other = rng.normal(size=(3, 400, 4))
    area = Applicability(training, np.arange(400) % 8)
    assert (area.dissimilarity(same[None]) <= area.threshold).mean() > 0.95
    assert (area.dissimilarity(other[None] + 6) > area.threshold).mean() > 0.99


clouds = st.tuples(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 6), st.integers(2, 5))


@given(clouds)
def test_index_and_threshold_are_those_of_scikit_learn_and_scipy(drawn):
    neighbors = pytest.importorskip("sklearn.neighbors", reason="needs the extra 'demos'")
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="needs the extra 'demos'")
    distance = pytest.importorskip("scipy.spatial.distance", reason="needs the extra 'demos'")
    seed, count, channels, folds = drawn
    rng = np.random.default_rng(seed)
    features = rng.exponential(3, (count, channels)) * 10 ** rng.normal(size=channels)
    folds = np.append(rng.integers(0, folds, count - 2), [0, 1])
    scaler = preprocessing.StandardScaler().fit(features)
    points = scaler.transform(features)
    unit = distance.pdist(points).mean()
    index = np.empty(count)
    for fold in np.unique(folds):
        others = neighbors.NearestNeighbors(n_neighbors=1).fit(points[folds != fold])
        index[folds == fold] = others.kneighbors(points[folds == fold])[0][:, 0] / unit
    quartiles = np.percentile(index, [25, 75])
    threshold = min(index.max(), quartiles[1] + 1.5 * np.diff(quartiles)[0])
    area = Applicability(features, folds)
    assert area.unit == pytest.approx(unit)
    assert area.threshold == pytest.approx(threshold, abs=1e-6)

    image = rng.exponential(3, (3, 5, channels)).astype(np.float32)
    scaled = scaler.transform(image.reshape(15, channels))
    nearest = distance.cdist(scaled, points).min(axis=1) / unit
    np.testing.assert_allclose(area.dissimilarity(image), nearest.reshape(3, 5), atol=1e-5)


@given(clouds)
def test_the_units_of_a_feature_make_no_difference(drawn):
    seed, count, channels, folds = drawn
    rng = np.random.default_rng(seed)
    features, image = rng.normal(size=(count, channels)), rng.normal(size=(2, 3, channels))
    folds = np.append(rng.integers(0, folds, count - 2), [0, 1])
    scale, shift = rng.uniform(0.1, 10, channels), rng.normal(size=channels)
    one, two = (Applicability(f, folds) for f in (features, features * scale + shift))
    assert one.threshold == pytest.approx(two.threshold)
    np.testing.assert_allclose(
        one.dissimilarity(image), two.dissimilarity(image * scale + shift), rtol=1e-6
    )


def test_a_feature_that_is_always_the_same_divides_nothing_by_zero():
    features = np.random.default_rng(0).normal(size=(20, 2))
    features[:, 1] = 7
    area = Applicability(features, np.arange(20) % 4)
    assert area.threshold == Applicability(features[:, :1], np.arange(20) % 4).threshold
    same = Applicability(np.zeros((4, 2)), np.arange(4))
    assert same.dissimilarity(np.zeros((1, 1, 2)))[0, 0] <= same.threshold
    assert same.dissimilarity(np.ones((1, 1, 2)))[0, 0] > same.threshold


def test_pixels_of_a_single_place_are_refused():
    with pytest.raises(UserError, match="two folds"):
        Applicability(np.zeros((5, 2)), np.zeros(5, int))


# -- What is drawn from the training images --------------------------------------------------------


def noise(count, size, ignored=0.0, seed=0):
    rng = np.random.default_rng(seed)
    images = [rng.normal(size=(*size, 2)).astype(np.float32) for _ in range(count)]
    masks = [np.where(rng.random(size) < ignored, 255, 0) for _ in range(count)]
    return Dataset([str(index) for index in range(count)], images, masks)


def untrained(**options):
    network = UNet(2, 3, base_channels=4, depth=1, norm="batch", **options)
    return Model(network, Standardization([0.5, 0.0], [2.0, 1.0]), ignore_index=255)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_last_features_are_what_the_head_turns_into_logits(padding):
    model = untrained(padding=padding)
    image = noise(1, (21, 34)).images[0]
    options = {"tile": 16, "margin": 8}
    pairs = zip(
        predict_tiles(without_head(model), image, **options),
        predict_tiles(model, image, **options),
        strict=True,
    )
    for (*place, features), (*same_place, logits) in pairs:
        assert place == same_place
        expected = to_host(model.network.head(relu(features[None])[0])[0])
        np.testing.assert_allclose(expected, to_host(logits), atol=1e-5)


def test_features_are_drawn_from_every_image_and_each_image_is_a_fold():
    model, dataset = untrained(), noise(20, (30, 44))
    known = sample_features(model, dataset)
    assert known["features"].shape == (1000, 4) and known["features"].dtype == np.float32
    assert set(known["folds"]) == set(range(20))
    for index, image in enumerate(dataset.images):
        [(_, _, found)] = predict_tiles(without_head(model), image, tile=128)
        seen = {row.tobytes() for row in to_host(found).reshape(-1, 4)}
        drawn = known["features"][known["folds"] == index]
        assert all(row.tobytes() in seen for row in drawn) and len(drawn) in (40, 60)


def test_the_blocks_of_a_scene_are_folds_and_what_is_ignored_is_not_drawn():
    dataset = noise(1, (90, 300), ignored=0.3)
    dataset.masks[0][:, 150:] = 255
    dataset.valid = [np.ones((90, 300), bool)]
    known = sample_features(untrained(), dataset, seed=1)
    rows, columns = np.divmod(known["folds"], 4)
    assert set(rows) == {0, 1, 2, 3} and set(columns) == {0, 1}
    np.testing.assert_array_equal(
        known["folds"], sample_features(untrained(), dataset, seed=1)["folds"]
    )


def test_a_few_pixels_that_count_are_enough():
    dataset = noise(2, (20, 20))
    for mask in dataset.masks:
        mask[1:] = 255
    known = sample_features(untrained(), dataset)
    assert len(known["features"]) == len(known["folds"]) == 1000
    for mask in dataset.masks:
        mask[:] = 255
    assert len(sample_features(untrained(), dataset)["folds"]) == 0


# -- The map ---------------------------------------------------------------------------------------


def black_and_white(size):
    """Draw pixels that are black or white at random."""
    bits = np.random.default_rng(0).integers(0, 2, (*size, 1))
    return np.repeat(255 * bits, 3, axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a network on blobs, in a folder with their images."""
    folder = tmp_path_factory.mktemp("trained")
    write_folders(folder, blobs())
    run(folder, steps=60, base_channels=4)
    return folder


def test_much_more_of_a_strange_image_lies_outside_than_of_a_usual_one(trained):
    model = load_model(trained / "run" / "model.npz")
    assert len(model.training_features["folds"]) == 1000
    usual = mark_applicability(model, blobs(seed=5).images[0])
    assert usual.shape == (20, 28) and set(np.unique(usual)) <= {0, 1}
    assert (usual == 0).mean() < 0.15
    strange = black_and_white((20, 28))
    assert (mark_applicability(model, strange) == 0).mean() > 0.5
    valid = np.zeros((20, 28), bool)
    valid[:9] = True
    marks = mark_applicability(model, strange, valid=valid)
    assert (marks[:9] <= 1).all() and (marks[9:] == 255).all()


def test_tiles_threads_and_tta_do_not_change_the_area(trained):
    model = load_model(trained / "run" / "model.npz")
    image = np.random.default_rng(1).integers(0, 200, (50, 41, 3)).astype(np.uint8)
    once = mark_applicability(model, image, margin=16)
    many = mark_applicability(model, image, margin=16, tile=8, threads=3, tta=True)
    assert (once != many).mean() < 0.002


def test_predict_writes_the_area_as_a_map_and_says_its_share(trained, tmp_path, capsys):
    model, out = trained / "run" / "model.npz", tmp_path / "out"
    strange = black_and_white((20, 28))
    Image.fromarray(strange).save(tmp_path / "strange.png")
    arguments = [tmp_path / "strange.png", "--out", out, "--applicability"]
    assert main(["predict", *map(str, [model, *arguments])]) == 0
    marks = np.array(Image.open(out / "strange_applicability.png"))
    said = capsys.readouterr().out
    share = 100 * (marks == 0).mean()
    assert f"strange.png: {share:.1f} % lies outside the area of applicability" in said
    with Image.open(out / "strange_overlay.png") as picture:
        assert picture.width > 3 * 256
    assert (out / "strange.png").exists()


def test_the_area_of_a_georeferenced_image_lies_where_the_image_lies(trained, tmp_path, capsys):
    rasterio = pytest.importorskip("rasterio", reason="needs the extra 'geo'")
    place = Place((0.5, 0, 600_000, 0, -0.5, 5_600_000), rasterio.CRS.from_epsg(32632).to_wkt())
    pixels = blobs(seed=5).images[0]
    with raster_file(tmp_path / "a.tif", (20, 28, 3), "uint8", place, nodata=0) as file:
        pixels[:5] = 0
        file.write(np.moveaxis(pixels, -1, 0))
    model = load_model(trained / "run" / "model.npz")
    save_model(tmp_path / "model.npz", model)
    arguments = [tmp_path / "model.npz", tmp_path / "a.tif", "--out", tmp_path / "out"]
    assert main(["predict", *map(str, arguments), "--applicability"]) == 0
    area = open_raster(tmp_path / "out" / "a_applicability.tif")
    assert area.place.transform == place.transform
    with rasterio.open(tmp_path / "out" / "a_applicability.tif") as file:
        marks = file.read(1)
        assert (file.tags(1)["CLASS_0"], file.tags(1)["CLASS_1"]) == ("outside", "inside")
    assert (marks[:5] == 255).all() and set(np.unique(marks[5:])) <= {0, 1}
    share = 100 * (marks[5:] == 0).mean()
    assert f"{share:.1f} % lies outside" in capsys.readouterr().out


def test_a_model_without_training_features_says_what_adds_them(trained, tmp_path, capsys):
    model = load_model(trained / "run" / "model.npz")
    model.training_features = {}
    save_model(tmp_path / "model.npz", model)
    arguments = [tmp_path / "model.npz", trained / "images" / "blob1.png", "--out", tmp_path / "o"]
    assert main(["predict", *map(str, arguments), "--applicability"]) == 2
    assert "has no features of its training images; `train` adds them" in capsys.readouterr().err
