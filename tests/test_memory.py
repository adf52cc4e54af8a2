"""Memory is estimated before something large begins, and what to lower is said."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest

from tinyunet import memory
from tinyunet.errors import UserError
from tinyunet.inference.sliding_window import sliding_window
from tinyunet.memory import check_memory
from tinyunet.nn.unet import UNet


def test_more_than_there_is_is_refused_and_more_than_is_free_is_warned_of(monkeypatch):
    monkeypatch.setattr(memory, "memory", lambda: (2e9, 8e9))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_memory(1.9e9, "this", "that")
    with pytest.warns(UserWarning, match="this takes about 5.0 GB of memory, and 2.0 GB are free"):
        check_memory(5e9, "this", "choose a smaller crop")
    with pytest.raises(UserError, match="about 9.0 GB .* there are 8.0 GB: choose a smaller crop"):
        check_memory(9e9, "this", "choose a smaller crop")


def test_this_computer_tells_how_much_it_has():
    free, total = memory.memory()
    assert 0 < free <= total
    assert total == math.inf or 1e8 < total < 1e14


def test_where_nothing_is_known_nothing_is_refused(monkeypatch):
    def missing(path):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert memory.memory() == (math.inf, math.inf)
    check_memory(1e30, "this", "that")


@pytest.mark.parametrize("size", [(10**6, 10**6), (16, 10**10)])
def test_windows_that_fit_no_computer_are_refused_at_once(size):
    network = UNet(3, 2, base_channels=2, depth=2)
    scene = np.broadcast_to(np.uint8(0), (*size, 3))
    with pytest.raises(UserError, match="choose a smaller tile or margin"):
        list(sliding_window(network, scene, tile=10**10))


def test_a_margin_beyond_what_a_tile_sees_takes_no_more_memory():
    network = UNet(1, 2, base_channels=2, depth=1)
    (once,) = sliding_window(network, np.zeros((8, 8, 1), np.float32), margin=10**9)
    assert once[:2] == (slice(0, 8), slice(0, 8))
