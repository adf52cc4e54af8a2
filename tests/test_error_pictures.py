"""The pictures of mistakes: they show what is in the numbers, for any number of classes."""

import numpy as np
import pytest

from tinyunet.inference.evaluation import Scores
from tinyunet.plots.pictures import MISTAKE, draw_confusion, marked


@pytest.mark.parametrize("classes", [2, 5, 30])
@pytest.mark.parametrize("ignore_index", [None, 0, 255])
def test_the_confusion_is_drawn_for_any_number_of_classes(classes, ignore_index):
    counts = np.random.default_rng(0).integers(0, 100, (classes, classes))
    counts[-1] = 0  # a class that is absent
    scores = Scores(counts, ignore_index)
    names = [f"class {index}" for index in range(classes)]
    picture = draw_confusion(scores, names)
    assert picture.width > 300 and picture.height > 150
    assert picture.width < 1500


def test_the_more_of_a_class_the_darker():
    shades = []
    for confusion in ([[9, 0], [0, 5]], [[0, 9], [5, 0]]):
        picture = draw_confusion(Scores(np.array(confusion)), ["a", "b"])
        dark = (np.array(picture) == (8, 48, 107)).all(axis=2)  # the end of the color map "Blues"
        assert dark.sum() > 20_000
        shades.append(np.corrcoef(*np.nonzero(dark))[0, 1] > 0)
    assert shades == [True, False]


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_wrong_pixels_are_marked_in_red_over_a_pale_image(channels):
    image = np.random.default_rng(0).integers(0, 255, (24, 12, channels), dtype=np.uint8)
    wrong = np.zeros((24, 12), bool)
    wrong[3:7, 2:] = True
    picture = marked(image, wrong)
    np.testing.assert_array_equal((picture == MISTAKE).all(axis=2), wrong)
    assert picture[~wrong].min() >= 170
