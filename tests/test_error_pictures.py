"""The pictures of mistakes: they show what is in the numbers, for any number of classes."""

import numpy as np
import pytest

from tinyunet.inference.evaluation import Scores
from tinyunet.plots.mistakes import MISTAKE, draw_confusion, draw_mistakes, percent, worst_images


def test_the_images_with_most_wrong_pixels_are_the_worst():
    confusions = [
        np.array(counts) for counts in ([[9, 1], [0, 9]], [[9, 0], [0, 9]], [[5, 9], [8, 0]])
    ]
    assert worst_images(confusions) == [2, 0]
    assert worst_images(confusions, most=1) == [2]


@pytest.mark.parametrize(
    ("share", "total", "text"),
    [
        (0.0, 5, "0"),
        (1.0, 5, "100"),
        (0.004, 5, "<1"),
        (0.5, 5, "50"),
        (0.996, 5, ">99"),
        (0, 0, "-"),
    ],
)
def test_a_share_has_room_in_its_cell(share, total, text):
    assert percent(share, total) == text


@pytest.mark.parametrize("classes", [2, 5, 30])
@pytest.mark.parametrize("ignore_index", [None, 0, 255])
def test_the_confusion_is_drawn_for_any_number_of_classes(classes, ignore_index):
    counts = np.random.default_rng(0).integers(0, 100, (classes, classes))
    counts[-1] = 0  # a class that is absent
    scores = Scores.from_confusion(counts, ignore_index)
    names = [f"class {index}" for index in range(classes)]
    picture = draw_confusion(scores, names, ignore_index)
    assert picture.width > 300 and picture.height > 150
    assert picture.width < 1400


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_only_pixels_that_count_are_shown_as_wrong(channels):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (240, 120, channels), dtype=np.uint8)
    truth = np.zeros((240, 120), np.uint8)
    prediction = truth.copy()
    truth[:120] = 255

    def red(prediction):
        picture = draw_mistakes([("a", image, truth, prediction)], ["ground"], 255)
        return (np.array(picture) == MISTAKE).all(axis=2).sum()

    assert red(prediction) == 0
    prediction[100:140, :50] = 1
    assert red(prediction) == 20 * 50
