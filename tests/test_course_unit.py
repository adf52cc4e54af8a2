"""The unit of the course: each command that its chapter shows runs, here on a smaller land."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_demos import load
from tinyunet.cli.main import main

PAGE = Path(__file__).resolve().parent.parent / "docs" / "course_unit.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
COMMANDS = [
    shlex.split(line) for block in BLOCKS for line in block.replace("\\\n", "").splitlines()
]
SMALLER = {
    "--steps": "2",
    "--base-channels": "2",
    "--crop-size": "16",
    "--size": "16",
    "--depth": "1",
}


def smaller(arguments):
    """Replace what takes long by something small."""
    before = ["", *arguments]
    return [SMALLER.get(previous, word) for previous, word in zip(before, arguments, strict=False)]


def test_every_command_of_the_unit_runs_in_its_order(tmp_path, monkeypatch, capsys):
    for package in ("rasterio", "pyogrio", "shapely", "scipy", "sklearn"):
        pytest.importorskip(package, reason="needs the extras 'geo' and 'demos'")
    monkeypatch.chdir(tmp_path)
    for program, *arguments in COMMANDS:
        if program == "python":
            script, *arguments = arguments
            more = ["--size", "96"] if "course_scenes" in script else ["--device", "cpu"]
            load(Path(script).stem).main([*arguments, *more])
        else:
            assert program == "tinyunet"
            status = main(smaller(arguments))
            assert status == 0, (arguments, capsys.readouterr())
    said = capsys.readouterr().out
    assert "with nothing but 0 left out" in said  # the empty tiles
    assert "lies outside the area of applicability" in said
    assert "random forest" in said and "false alarms" in said
    report = json.loads(Path("land/folds/crossvalidation.json").read_text())
    assert {"random", "spatial", "difference"} <= report.keys()
    for name in ("maps/test.tif", "maps/test_polygons.gpkg", "maps/elsewhere_applicability.tif"):
        assert Path("land", name).exists()
    for name in ("random_forest.png", "run/curves.png", "errors/confusion.png"):
        with Image.open(Path("land", name)) as picture:
            assert min(picture.size) > 200


def test_the_painted_buildings_are_where_their_polygons_are(tmp_path):
    for package in ("rasterio", "pyogrio", "shapely"):
        pytest.importorskip(package, reason="needs the extra 'geo'")
    demo = load("course_scenes")
    demo.main([str(tmp_path), "--size", "128"])
    rasterize = ["rasterize", tmp_path / "scene.tif", tmp_path / "buildings.gpkg"]
    assert main([*map(str, rasterize), "--out", str(tmp_path / "mask.tif")]) == 0
    _, truth = demo.paint_scene((128, 192), seed=(7, 0))
    with Image.open(tmp_path / "mask.tif") as mask:
        np.testing.assert_array_equal(np.array(mask), truth == demo.BUILDING)


def test_the_forest_and_a_network_are_judged_on_the_same_pixels(tmp_path, capsys):
    pytest.importorskip("sklearn", reason="needs the extra 'demos'")
    demo = load("random_forest")
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(3):  # the color tells the class, so the forest has no excuse
        mask = rng.integers(0, 2, (32, 48)).astype(np.uint8)
        image = np.stack([200 * mask, 50 + 0 * mask, 0 * mask], axis=2).astype(np.uint8)
        mask[0] = 255
        for kind, array in (("images", image), ("masks", mask)):
            Image.fromarray(array).save(tmp_path / kind / f"a{number}.png")
    (tmp_path / "table.txt").write_text("dark: 0\nred: 1\nignore: 255\n")
    small = "--steps 2 --crop-size 16 --depth 1 --base-channels 2 --device cpu".split()
    pair = [str(tmp_path / "images"), str(tmp_path / "masks")]
    run, table = str(tmp_path / "run"), str(tmp_path / "table.txt")
    assert main(["train", *pair, "--out", run, "--classes", table, *small]) == 0
    test = ["--test-images", pair[0], "--test-masks", pair[1]]
    out = ["--model", f"{run}/model.npz", "--out", str(tmp_path / "f.png"), "--device", "cpu"]
    scores = demo.main([*pair, *test, *out])
    assert scores["random forest"].mean_iou == 1
    assert {score.confusion.sum() for score in scores.values()} == {3 * 31 * 48}
    assert "1.000 of the random forest" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        demo.main([*pair, "--test-images", pair[0]])
    assert "give both or neither" in capsys.readouterr().err
