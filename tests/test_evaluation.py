"""The scores: against the definitions with sets of pixels, and the rules about what counts."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinyunet.checkpoint import Model
from tinyunet.data.dataset import Dataset
from tinyunet.errors import UserError
from tinyunet.inference.evaluation import (
    OUTCOMES,
    Scores,
    add,
    confusion_matrix,
    count_by_confidence,
    count_by_threshold,
    count_objects,
    evaluate,
)
from tinyunet.inference.sliding_window import predict_classes, predict_probabilities
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.plots.pictures import draw_calibration


@st.composite
def maps(draw):
    """Draw a number of classes, a truth, a prediction of its shape, a value to ignore."""
    classes = draw(st.integers(1, 5))
    ignore_index = draw(st.sampled_from([None, 255, *range(classes)]))
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 7)))
    labels = st.integers(0, classes - 1)
    truths = labels if ignore_index is None else labels | st.just(ignore_index)
    truth = draw(arrays.arrays(np.uint8, shape, elements=truths))
    prediction = draw(arrays.arrays(np.uint8, shape, elements=labels))
    return classes, truth, prediction, ignore_index


@given(maps())
def test_scores_follow_the_definitions_with_sets_of_pixels(drawn):
    classes, truth, prediction, ignore_index = drawn
    scores = Scores(confusion_matrix(truth, prediction, classes, ignore_index), ignore_index)
    counted = {place for place in np.ndindex(truth.shape) if truth[place] != ignore_index}
    known = []
    for index in range(classes):
        true = {place for place in counted if truth[place] == index}
        found = {place for place in counted if prediction[place] == index}
        if not true | found or index == ignore_index:
            assert scores.iou[index] is None
            assert scores.dice[index] is None
            continue
        iou = len(true & found) / len(true | found)
        known.append(iou)
        assert scores.iou[index] == pytest.approx(iou)
        assert scores.dice[index] == pytest.approx(2 * len(true & found) / (len(true) + len(found)))
    assert scores.mean_iou == (pytest.approx(np.mean(known)) if known else None)
    right = sum(truth[place] == prediction[place] for place in counted)
    accuracy = right / len(counted) if counted else None
    assert scores.pixel_accuracy == (None if accuracy is None else pytest.approx(accuracy))
    assert scores.confusion.sum() == len(counted)


@given(maps())
def test_precision_recall_and_kappa_follow_their_definitions(drawn):
    classes, truth, prediction, ignore_index = drawn
    scores = Scores(confusion_matrix(truth, prediction, classes, ignore_index), ignore_index)
    counted = [place for place in np.ndindex(truth.shape) if truth[place] != ignore_index]
    by_chance = agreed = 0.0
    for index in range(classes):
        true = {place for place in counted if truth[place] == index}
        found = {place for place in counted if prediction[place] == index}
        right = len(true & found)
        expected = [right / len(group) if group else None for group in (found, true)]
        if index == ignore_index:
            expected = [None, None]
        assert [scores.precision[index], scores.recall[index]] == pytest.approx(expected)
        if counted:
            agreed += right / len(counted)
            by_chance += len(true) * len(found) / len(counted) ** 2
    if not counted or by_chance > 1 - 1e-9:
        assert scores.kappa is None
    else:
        assert scores.kappa == pytest.approx((agreed - by_chance) / (1 - by_chance))


@given(maps())
def test_precision_recall_and_kappa_are_those_of_scikit_learn(drawn):
    metrics = pytest.importorskip("sklearn.metrics", reason="needs the extra 'demos'")
    classes, truth, prediction, ignore_index = drawn
    counted = truth != ignore_index
    if not counted.any():
        return
    scores = Scores(confusion_matrix(truth, prediction, classes, ignore_index), ignore_index)
    truth, prediction = truth[counted], prediction[counted]
    precision, recall, dice, _ = metrics.precision_recall_fscore_support(
        truth, prediction, labels=range(classes), zero_division=np.nan
    )
    for ours, theirs in ((scores.precision, precision), (scores.recall, recall)):
        for index, (value, expected) in enumerate(zip(ours, theirs, strict=True)):
            if index != ignore_index:
                assert np.isnan(expected) if value is None else value == pytest.approx(expected)
    if scores.kappa is not None:
        expected = metrics.cohen_kappa_score(truth, prediction, labels=range(classes))
        assert scores.kappa == pytest.approx(expected)


def test_kappa_of_guessing_is_nothing_and_of_perfection_is_one():
    assert Scores([[9, 81], [1, 9]]).kappa == 0
    assert Scores([[5, 0], [0, 3]]).kappa == 1
    assert Scores([[0, 5], [5, 0]]).kappa == -1
    assert Scores([[3 * 10**9, 0], [0, 0]]).kappa is None


@given(maps())
def test_confusion_counts_pairs_one_by_one(drawn):
    classes, truth, prediction, ignore_index = drawn
    expected = np.zeros((classes, classes), dtype=np.int64)
    for place in np.ndindex(truth.shape):
        if truth[place] != ignore_index:
            expected[truth[place], prediction[place]] += 1
    result = confusion_matrix(truth, prediction, classes, ignore_index)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == np.int64


def test_rows_are_the_truth_and_columns_the_prediction():
    result = confusion_matrix(np.array([0, 0, 1]), np.array([1, 1, 1]), classes=2)
    assert result.tolist() == [[0, 2], [0, 1]]


def test_predicting_background_everywhere_is_accurate_and_useless():
    scores = Scores([[93, 0], [7, 0]])
    assert scores.pixel_accuracy == 0.93
    assert scores.iou == [0.93, 0.0]
    assert scores.mean_iou == pytest.approx(0.465)


def test_a_class_that_is_absent_is_left_out_of_the_mean():
    scores = Scores([[5, 0, 0], [0, 5, 0], [0, 0, 0]])
    assert scores.iou == [1.0, 1.0, None]
    assert scores.mean_iou == 1.0


def test_a_class_that_is_only_predicted_counts_as_zero():
    scores = Scores([[5, 5], [0, 0]])
    assert scores.iou == [0.5, 0.0]


def test_the_ignored_class_has_no_scores_even_where_it_was_predicted():
    truth, prediction = np.array([0, 1, 1, 2]), np.array([1, 0, 1, 2])
    scores = Scores(confusion_matrix(truth, prediction, 3, 0), 0)
    assert scores.iou == [None, 0.5, 1.0]
    assert scores.mean_iou == 0.75
    assert scores.pixel_accuracy == pytest.approx(2 / 3)


def test_nothing_that_counts_gives_no_scores():
    scores = Scores(np.zeros((2, 2)))
    assert scores.mean_iou is None
    assert scores.pixel_accuracy is None
    assert "-" in scores.table(["a", "b"])


def test_shapes_and_values_that_do_not_fit_are_refused():
    with pytest.raises(IndexError, match="did not match"):
        confusion_matrix(np.zeros((2, 3), int), np.zeros((3, 2), int), 2)
    with pytest.raises(UserError, match="truth holds 0 to 2, and classes are 0 to 1"):
        confusion_matrix(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(UserError, match="prediction holds -1 to 1"):
        confusion_matrix(np.array([0, 1]), np.array([-1, 1]), 2)


def test_json_has_the_promised_keys_and_null_for_an_absent_class():
    scores = Scores([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    result = json.loads(json.dumps(scores.as_json(["a", "b", "c"]), allow_nan=False))
    keys = "classes iou dice precision recall mean_iou pixel_accuracy kappa confusion"
    assert result.keys() >= set(keys.split())
    assert result["objects"] is result["calibration"] is result["mean_iou_by_threshold"] is None
    assert result["classes"] == ["a", "b", "c"]
    assert result["iou"][2] is None
    assert result["confusion"] == [[3, 1, 0], [0, 4, 0], [0, 0, 0]]


def test_the_table_can_be_read():
    scores = Scores([[30, 10, 0], [0, 60, 0], [0, 0, 0]])
    assert scores.table(["grass", "a long class name", "road"]).splitlines() == [
        "class                      IoU         Dice    precision       recall   % of truth",
        "grass                   0.7500       0.8571       1.0000       0.7500         40.0",
        "a long class name       0.8571       0.9231       0.8571       1.0000         60.0",
        "road                         -            -            -            -          0.0",
        "",
        "mean IoU                0.8036",
        "pixel accuracy          0.9000",
        "kappa                   0.7826",
        "calibration error            -",
    ]


@pytest.mark.parametrize("ignore_index", [None, 0, 255])
def test_evaluate_sums_over_images_and_never_predicts_the_ignored_class(ignore_index):
    rng = np.random.default_rng(0)
    images = [rng.normal(size=size).astype(np.float32) for size in ((9, 14, 1), (5, 3, 1))]
    masks = [rng.integers(0, 3, image.shape[:2]).astype(np.uint8) for image in images]
    if ignore_index == 255:
        masks[0][2:4] = 255
    model = Model(
        UNet(1, 3, base_channels=2, depth=1),
        Standardization([0.0], [1.0]),
        ["a", "b", "c"],
        ignore_index,
    )
    scores = evaluate(model, Dataset(["x", "y"], images, masks))
    counted = sum(int((mask != ignore_index).sum()) for mask in masks)
    assert scores.confusion.sum() == counted
    if ignore_index == 0:
        assert scores.iou[0] is None
        assert scores.confusion[:, 0].sum() == 0


def test_evaluate_with_tta_counts_what_prediction_with_tta_gives():
    rng = np.random.default_rng(0)
    images = [rng.normal(size=size).astype(np.float32) for size in ((9, 14, 1), (32, 38, 1))]
    masks = [rng.integers(0, 3, image.shape[:2]) for image in images]
    model = Model(UNet(1, 3, base_channels=2, depth=1, seed=3), Standardization([0.5], [2.0]))
    dataset = Dataset(["a", "b"], images, masks)
    expected = sum(
        confusion_matrix(mask, predict_classes(model, image, tta=True), 3)
        for image, mask in zip(images, masks, strict=True)
    )
    found = evaluate(model, dataset, tta=True).confusion
    np.testing.assert_array_equal(found, expected)
    assert (found != evaluate(model, dataset).confusion).any()


@pytest.mark.parametrize("tile", [4, 64])
@pytest.mark.parametrize("class_weights", [None, (0.5, 1.0, 3.0)])
def test_the_loss_is_the_weighted_mean_over_all_pixels_that_count(tile, class_weights):
    rng = np.random.default_rng(0)
    images = [rng.normal(size=size).astype(np.float32) for size in ((9, 14, 1), (5, 3, 1))]
    masks = [rng.integers(0, 3, image.shape[:2]) for image in images]
    masks[0][:4] = 255  # the first tiles hold nothing else
    model = Model(UNet(1, 3, base_channels=2, depth=1), Standardization([0.5], [2.0]), None, 255)
    total = weight_of_all = 0.0
    for image, mask in zip(images, masks, strict=True):
        standardized = model.standardization.transform(image)
        logits = predict_probabilities(model.network, standardized, margin=12)
        for place in zip(*np.nonzero(mask != 255), strict=True):
            weight = class_weights[mask[place]] if class_weights else 1.0
            total -= weight * np.log(logits[place][mask[place]])
            weight_of_all += weight
    loss = CrossEntropy(class_weights, ignore_index=255)
    dataset = Dataset(["a", "b"], images, masks)
    found = evaluate(model, dataset, loss, tile=tile, margin=12)
    assert found.loss == pytest.approx(total / weight_of_all, rel=1e-4)
    assert evaluate(model, dataset, tile=tile, margin=12).loss is None
    np.testing.assert_array_equal(found.confusion, evaluate(model, dataset, margin=12).confusion)


def test_each_image_is_compared_with_its_own_mask_without_a_word(capsys):
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(size, 4, 1)).astype(np.float32) for size in (4, 8, 12, 16, 20)]
    masks = [np.zeros(image.shape[:2], np.uint8) for image in images]
    model = Model(UNet(1, 2, base_channels=2, depth=1), Standardization([0.0], [1.0]))
    dataset = Dataset(list("abcde"), images, masks)
    masks[3][:] = 1
    confusion = evaluate(model, dataset, threads=3).confusion
    assert confusion.sum(axis=1).tolist() == [16 + 32 + 48 + 80, 64]
    assert capsys.readouterr().err == ""


# -- Calibration -----------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 300))
def test_the_calibration_is_that_of_scikit_learn(seed, count):
    calibration = pytest.importorskip("sklearn.calibration", reason="needs the extra 'demos'")
    rng = np.random.default_rng(seed)
    sure = rng.integers(0, 101, count) / 100  # on the edges of bins, too
    right = rng.random(count) < sure
    pixels, probability, correct = count_by_confidence(sure, right).T
    assert pixels.sum() == count
    found = pixels > 0
    if right.any() and not right.all():
        expected = calibration.calibration_curve(right, sure, n_bins=10)
        np.testing.assert_allclose(correct[found] / pixels[found], expected[0])
        np.testing.assert_allclose(probability[found] / pixels[found], expected[1])
    calibration = np.stack([pixels, probability, correct], axis=1)
    scores = Scores({"confusion": np.eye(2, dtype=int), "calibration": calibration})
    shares = pixels[found] / count
    gaps = abs(correct[found] / pixels[found] - probability[found] / pixels[found])
    assert scores.calibration_error == pytest.approx((shares * gaps).sum())


def test_evaluate_counts_how_sure_the_network_is_of_pixels_that_count():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(19, 34, 1)).astype(np.float32)
    mask = rng.integers(0, 3, image.shape[:2])
    mask[:4] = 255
    model = Model(UNet(1, 3, base_channels=2, depth=1, seed=2), Standardization([0.5], [2.0]))
    model.ignore_index = 255
    scores = evaluate(model, Dataset(["a"], [image], [mask]), tile=8, margin=12)
    standardized = model.standardization.transform(image)
    probabilities = predict_probabilities(model.network, standardized, margin=12)[mask != 255]
    right = probabilities.argmax(axis=-1) == mask[mask != 255]
    expected = count_by_confidence(probabilities.max(axis=-1), right)
    np.testing.assert_allclose(scores.calibration, expected, rtol=1e-3)
    report = json.loads(json.dumps(scores.as_json(["a", "b", "c"]), allow_nan=False))
    assert sum(pixels for pixels, *_ in report["calibration"]) == (mask != 255).sum()
    assert report["calibration_error"] == scores.calibration_error
    assert "calibration error" in scores.table(["a", "b", "c"])


def test_the_picture_of_the_calibration_is_drawn_with_empty_bins():
    calibration = np.zeros((10, 3))
    calibration[6:] = [[10, 6.5, 5], [0, 0, 0], [20, 17, 12], [70, 68, 66]]
    scores = Scores({"confusion": np.eye(2, dtype=int), "calibration": calibration})
    assert draw_calibration(scores).mode == "RGB"


# -- The threshold -------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 60))
def test_the_threshold_is_nearest_to_a_half_of_those_with_the_highest_iou(seed, count):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (2, count))
    probabilities = rng.integers(0, 201, (2, count)) / 200  # on the thresholds, too
    counts = [  # of two images
        {"confusion": np.eye(2, dtype=int), "by_threshold": count_by_threshold(*each)}
        for each in zip(probabilities, truth, strict=True)
    ]
    scores = Scores(add(counts))
    if not truth.any():
        assert scores.mean_iou_by_threshold is None and scores.best_threshold is None
        return
    ious = []
    for threshold in range(1, 100):
        of_class = []
        for k in (0, 1):
            found, there = (probabilities > threshold / 100) == k, truth == k
            if (found | there).any():
                of_class.append((found & there).sum() / (found | there).sum())
        ious.append(np.mean(of_class))
    np.testing.assert_allclose(scores.mean_iou_by_threshold, ious)
    good = [k for k, iou in enumerate(ious, start=1) if iou >= max(ious) - 0.005]
    best = scores.best_threshold
    assert round(best * 100) in good
    assert abs(best - 0.5) == pytest.approx(min(abs(k / 100 - 0.5) for k in good))


@given(st.integers(1, 99), st.sampled_from([None, 255]))
def test_with_a_threshold_classes_are_chosen_and_judged_by_it(percent, ignore_index):
    rng = np.random.default_rng(percent)
    image = rng.normal(size=(9, 14, 1)).astype(np.float32)
    mask = rng.integers(0, 2, image.shape[:2]).astype(np.uint8)
    mask[:2] = ignore_index or 0
    network = UNet(1, 2, base_channels=2, depth=1, seed=percent)
    model = Model(network, Standardization([0.0], [1.0]), None, ignore_index)
    dataset = Dataset(["a"], [image], [mask])
    curve = evaluate(model, dataset).mean_iou_by_threshold
    model.threshold = percent / 100
    found = predict_classes(model, image)
    probability = predict_probabilities(network, image)[..., 1]
    np.testing.assert_array_equal(found, probability > model.threshold)
    scores = evaluate(model, dataset)
    assert scores.mean_iou == pytest.approx(curve[percent - 1])
    counted = mask != 255
    chosen = np.where(found, probability, 1 - probability)[counted]
    expected = count_by_confidence(chosen, (found == mask)[counted])
    np.testing.assert_allclose(scores.calibration, expected, rtol=1e-3)


# -- Objects ---------------------------------------------------------------------------------------


def drawn(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


@pytest.mark.parametrize(
    ("truth", "prediction", "outcome"),
    [
        ("###.###", "###.###", [2, 0, 0, 0, 0]),
        ("###....", "......#", [0, 1, 0, 0, 1]),
        ("####...", "..##...", [0, 1, 0, 0, 0]),  # exactly half is not found
        ("####...", ".###...", [1, 0, 0, 0, 0]),
        ("###.###", "#######", [0, 0, 2, 0, 0]),
        ("#####.#", "#######", [1, 0, 1, 0, 0]),  # the larger one is found all the same
        ("#######", "###.###", [0, 0, 0, 1, 0]),
        ("#######", "#####.#", [1, 0, 0, 0, 0]),
        ("#......", "####...", [0, 1, 0, 0, 1]),
        (".......", "##.#...", [0, 0, 0, 0, 2]),
    ],
)
def test_each_object_is_found_missed_merged_or_split(truth, prediction, outcome):
    pytest.importorskip("scipy", reason="needs the extra 'demos'")
    assert count_objects(drawn(truth), drawn(prediction)).tolist() == outcome
    tall = [drawn(*word) for word in (truth, prediction)]
    assert count_objects(*tall).tolist() == outcome


@given(st.integers(0, 10**6), st.integers(1, 14), st.integers(1, 17), st.floats(0.2, 0.8))
def test_objects_follow_the_definition_with_sets_of_pixels(seed, height, width, share):
    ndimage = pytest.importorskip("scipy.ndimage", reason="needs the extra 'demos'")
    rng = np.random.default_rng(seed)
    truth = rng.random((height, width)) < share
    prediction = np.where(rng.random((height, width)) < 0.8, truth, rng.random(truth.shape) < share)

    def pieces(mask):
        numbers, count = ndimage.label(mask)
        return [set(zip(*np.nonzero(numbers == k), strict=True)) for k in range(1, count + 1)]

    true, predicted = pieces(truth), pieces(prediction)
    expected = dict.fromkeys(OUTCOMES, 0)
    for one in true:
        around = [p for p in predicted if 2 * len(one & p) > len(one)]
        if any(2 * len(one & p) > len(one | p) for p in predicted):
            expected["found"] += 1
        elif any(2 * len(o & p) > len(o) for p in around for o in true if o is not one):
            expected["merged"] += 1
        elif sum(2 * len(one & p) > len(p) for p in predicted) > 1:
            expected["split"] += 1
        else:
            expected["missed"] += 1
    everything = set().union(*true)
    expected["false alarms"] = sum(2 * len(p & everything) <= len(p) for p in predicted)
    assert count_objects(truth, prediction).tolist() == list(expected.values())


def test_objects_of_each_class_are_counted_over_tiles_and_ignored_pixels_are_none():
    pytest.importorskip("scipy", reason="needs the extra 'demos'")
    rng = np.random.default_rng(0)
    image = rng.normal(size=(19, 34, 1)).astype(np.float32)
    mask = np.repeat(np.repeat(rng.integers(0, 3, (5, 9)), 4, axis=0), 4, axis=1)[:19, :34]
    mask[:4] = 255
    model = Model(UNet(1, 3, base_channels=2, depth=1, seed=2), Standardization([0.5], [2.0]))
    model.ignore_index = 255
    dataset, options = Dataset(["a"], [image], [mask]), {"tile": 8, "margin": 12}
    assert evaluate(model, dataset, **options).objects is None
    scores = evaluate(model, dataset, objects=True, **options)
    prediction = np.where(mask == 255, 255, predict_classes(model, image, margin=12))
    for index, counts in enumerate(scores.objects):
        expected = count_objects(mask == index, prediction == index)
        np.testing.assert_array_equal(counts, expected)
    assert scores.as_json(["a", "b", "c"])["objects"] == scores.objects.tolist()
    table = scores.table(["a", "b", "c"]).splitlines()
    assert table[-4].split() == ["objects", "found", "missed", "merged", "split", "false", "alarms"]
    assert table[-1].split() == ["c", *map(str, scores.objects[2])]
