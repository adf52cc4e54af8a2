"""The benchmark: its sides compute the same, and its tables and pictures come out."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DEMOS = Path(__file__).parents[1] / "demos"


def run_benchmark(*arguments):
    return subprocess.run(
        [sys.executable, str(DEMOS / "benchmark.py"), "--quick", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def sides(monkeypatch):
    monkeypatch.syspath_prepend(str(DEMOS))
    from parts import benchmark_sides

    return benchmark_sides


def test_the_plain_side_computes_what_the_library_does(sides):
    from parts.benchmark_networks import networks

    from tinyunet.nn.operations import operations, use_operations

    before, losses = operations.name, []
    for side in (sides.TinyUNet(1), sides.Plain(1)):
        side.prepare(networks(quick=True)["base16"])
        losses.append([side.train(), side.train()])
    assert operations.name == "plain"
    use_operations(before)
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_it_compares_sides_and_draws(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    numbers = tmp_path / "numbers.json"
    done = run_benchmark(
        *("--networks", "base16", "--sides", "tinyunet,plain", "--rounds", "1"),
        *("--out", str(tmp_path), "--json", str(numbers)),
    )
    assert done.returncode == 0, done.stderr
    assert "| plain |" in done.stdout
    assert "- Versions: tinyunet" in done.stdout
    assert (tmp_path / "benchmark.png").stat().st_size > 10_000
    assert (tmp_path / "benchmark.md").read_text() == done.stdout
    seconds = json.loads(numbers.read_text())["networks"][0]["sides"]["tinyunet"]["seconds"]
    assert len(seconds) == 1


def test_pytorch_computes_the_same(sides):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from parts.benchmark_networks import networks

    for name in ("base16", "paper"):
        work = networks(quick=True)[name]
        losses = []
        for side in (sides.TinyUNet(1), sides.Torch(1), sides.TorchChannelsLast(1)):
            side.prepare(work)
            losses.append([side.train(), side.train()])
        np.testing.assert_allclose(losses[1:], [losses[0]] * 2, rtol=1e-4)


def test_the_profile_shows_layers_and_functions():
    done = run_benchmark("--profile", "--networks", "base16", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "| encoder.0.conv1 | Conv2d | 32 x 32 x 2 |" in done.stdout
    assert "| Conv2d | backward |" in done.stdout


def test_an_unknown_network_is_refused_in_words():
    done = run_benchmark("--networks", "base17")
    assert done.returncode == 2
    assert "'base17' is none of norm16, norm32" in done.stderr


def test_the_commands_take_turns_and_their_time_and_memory_are_told():
    words = [sys.executable, str(DEMOS / "whole_command.py")]
    words += ["--steps", "1", "--size", "64", "--rounds", "1", "--pause", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    sides = 3 if importlib.util.find_spec("torch") else 1
    assert [row[0] for row in rows] == ["| train"] * sides + ["| predict"] * sides
    assert all(float(row[2]) > 0 and float(row[4].rstrip(" |")) > 10 for row in rows)
