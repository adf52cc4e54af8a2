"""Maps, polygons and masks from polygons, judged by rasterio and shapely."""

import contextlib
import json
import os
import subprocess
import sys

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from PIL import Image

from tinyunet.checkpoint import save_model
from tinyunet.cli.main import main
from tinyunet.data.images import Place, open_raster
from tinyunet.data.maps import raster_file, rasterize, save_class_map, save_polygons
from tinyunet.errors import UserError
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet

CRS = rasterio.crs.CRS.from_epsg(32633)
PLACE = Place((2.0, 0.0, 500000.0, 0.0, -2.0, 5000000.0), CRS.to_wkt())
NAMES = ["field", "roof & <wall>", "weg"]
COLORS = np.array([[1, 2, 3], [250, 0, 9], [40, 50, 60]], np.uint8)


def blobs(shape=(60, 80), classes=3, seed=0):
    """Rectangles of classes, some with a hole in it."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    for k in range(25):
        top, left = rng.integers(0, shape[0] - 12), rng.integers(0, shape[1] - 12)
        high, wide = rng.integers(3, 12, 2)
        labels[top : top + high, left : left + wide] = k % classes
    return labels


def write_map(path, labels, place=PLACE):
    save_class_map(path, labels, place, NAMES, COLORS)
    return path


class Unreadable:
    """Classes at which something happens as soon as they are read."""

    shape = (60, 80)

    def __init__(self, happens):
        self.happens = happens

    def __array__(self, *_, **__):
        self.happens()


def scene_file(path, shape=(60, 80), place=PLACE):
    with raster_file(path, (*shape, 3), "uint8", place, photometric="rgb") as file:
        file.write(np.random.default_rng(0).integers(0, 255, (3, *shape), np.uint8))
    return path


# --- Class maps ---


def test_a_map_holds_classes_place_nodata_colors_and_names(tmp_path):
    labels = blobs()
    labels[:3] = 255
    with rasterio.open(write_map(tmp_path / "m.tif", labels)) as made:
        np.testing.assert_array_equal(made.read(1), labels)
        assert made.crs == CRS and tuple(made.transform)[:6] == PLACE.transform
        assert made.nodata == 255 and made.compression.name == "deflate"
        np.testing.assert_array_equal(made.read_masks(1) > 0, labels != 255)
        colors = made.colormap(1)
        assert [colors[k][:3] for k in range(3)] == [tuple(color) for color in COLORS.tolist()]
        assert colors[255][3] == 0
        assert [made.tags(1)[f"CLASS_{k}"] for k in range(3)] == NAMES
    style = (tmp_path / "m.qml").read_text()
    assert 'value="1" color="#fa0009" label="roof &amp; &lt;wall&gt;"' in style
    assert sorted(os.listdir(tmp_path)) == ["m.qml", "m.tif"]


def test_a_large_map_is_tiled_and_has_overviews(tmp_path):
    labels = np.kron(blobs(), np.ones((12, 12), np.uint8))
    with rasterio.open(write_map(tmp_path / "m.tif", labels)) as made:
        assert made.block_shapes == [(512, 512)] and made.overviews(1) == [2]
        np.testing.assert_array_equal(made.read(1), labels)


@pytest.mark.parametrize("when", ["while it is written", "when it is finished"])
def test_a_map_is_complete_or_not_there(tmp_path, monkeypatch, when):
    write_map(tmp_path / "m.tif", blobs())
    before = (tmp_path / "m.tif").read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        if when.startswith("while"):
            write_map(tmp_path / "m.tif", Unreadable(stop))
        else:
            monkeypatch.setattr("tinyunet.data.maps.save_text", stop)  # the step before it appears
            write_map(tmp_path / "m.tif", blobs(seed=1))
    assert (tmp_path / "m.tif").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["m.qml", "m.tif"]


def in_a_process(program):
    program = "import os, resource, signal\nfrom tests.test_maps import *\n" + program
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


@pytest.mark.parametrize("made", ["map", "polygons"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, made):
    done = in_a_process(f"""
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
labels = np.random.default_rng(0).integers(0, 3, (300, 300)).astype(np.uint8)
if {made!r} == "polygons":
    write_map({str(tmp_path / "m.tif")!r}, labels)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    if {made!r} == "polygons":
        save_polygons({str(tmp_path / "m.tif")!r}, {str(tmp_path / "p.gpkg")!r}, NAMES)
    else:
        write_map({str(tmp_path / "m.tif")!r}, labels)
except UserError as error:
    print("told:", error)
""")
    path = tmp_path / ("m.tif" if made == "map" else "p.gpkg")
    assert "told:" in done.stdout and str(path) in done.stdout, done.stderr
    expected = {"m.qml"} | ({"m.tif"} if made == "polygons" else set())
    assert expected - {"m.qml"} <= set(os.listdir(tmp_path)) <= expected


@pytest.mark.parametrize("when", ["while a map is filled", "while polygons are written"])
def test_what_a_killed_process_leaves_is_gone_after_the_next(tmp_path, when):
    done = in_a_process(f"""
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if "polygons" in {when!r}:
    pyogrio.raw.write = lambda path, *_, **__: (path.write_bytes(b"half"), die())
write_map({str(tmp_path / "m.tif")!r}, Unreadable(die) if "map" in {when!r} else blobs())
save_polygons({str(tmp_path / "m.tif")!r}, {str(tmp_path / "p.gpkg")!r}, NAMES)
""")
    assert done.returncode == -9, done.stderr
    assert any(name.startswith(".tinyunet-") for name in os.listdir(tmp_path))
    assert not (tmp_path / "p.gpkg").exists()
    assert (tmp_path / "m.tif").exists() == ("polygons" in when)
    write_map(tmp_path / "next.tif", blobs())
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


# --- Polygons ---


def test_polygons_cover_exactly_the_pixels_of_their_class(tmp_path):
    labels = blobs()
    labels[20:25, 20:25], labels[22, 22] = 1, 2  # a hole with another class in it
    labels[:, :2] = 255
    path = write_map(tmp_path / "m.tif", labels)
    count = save_polygons(path, tmp_path / "p.gpkg", NAMES)
    meta, _, geometry, fields = pyogrio.raw.read(tmp_path / "p.gpkg")
    shapes = shapely.from_wkb(geometry)
    columns = dict(zip(meta["fields"], fields, strict=True))
    assert len(shapes) == count and rasterio.crs.CRS.from_user_input(meta["crs"]) == CRS
    assert all(shapely.is_valid(shapes))
    np.testing.assert_allclose(columns["area"], shapely.area(shapes))
    for k, name in enumerate(NAMES):
        mine = columns["class"] == k
        assert set(columns["name"][mine]) == {name}
        assert columns["pixels"][mine].sum() == (labels == k).sum()
        assert shapely.area(shapes[mine]).sum() == pytest.approx(4 * (labels == k).sum())
    again = rasterio.features.rasterize(
        zip(shapes, columns["class"].tolist(), strict=True),
        out_shape=labels.shape,
        transform=rasterio.Affine(*PLACE.transform),
        fill=255,
        dtype="uint8",
    )
    np.testing.assert_array_equal(again, labels)
    assert sorted(os.listdir(tmp_path)) == ["m.qml", "m.tif", "p.gpkg"]


def test_small_polygons_are_left_out(tmp_path):
    labels = np.zeros((20, 20), np.uint8)
    labels[2:5, 2:5], labels[10, 10] = 1, 2
    path = write_map(tmp_path / "m.tif", labels)
    assert save_polygons(path, tmp_path / "p.gpkg", NAMES) == 3
    assert save_polygons(path, tmp_path / "p.gpkg", NAMES, min_area=4.1) == 2


# --- Masks from polygons ---


def polygons_file(path, shapes, crs=CRS, **fields):
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(np.array(shapes, dtype=object)),
        field_data=[np.array(values) for values in fields.values()],
        fields=list(fields),
        geometry_type="Polygon",
        crs=crs.to_wkt() if crs else None,
    )
    return path


def polygons(count=9, seed=0):
    """Draw triangles and boxes at any place in the scene, some reaching beyond it."""
    rng = np.random.default_rng(seed)
    x, y = 500000 + rng.uniform(-10, 150, count), 5000000 - rng.uniform(-10, 110, count)
    corners = rng.uniform(-25, 25, (count, 3, 2)) + np.stack([x, y], axis=1)[:, None]
    return [shapely.Polygon(each) for each in corners]


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "shp"])
@pytest.mark.parametrize("outside", [0, 255])
def test_a_mask_is_what_rasterio_makes_of_the_polygons(tmp_path, ending, outside):
    scene, shapes = scene_file(tmp_path / "s.tif"), polygons()
    crs = CRS if ending != "geojson" else rasterio.crs.CRS.from_epsg(4326)
    given = shapes
    if ending == "geojson":
        given = [
            shapely.geometry.shape(rasterio.warp.transform_geom(CRS, crs, shape.__geo_interface__))
            for shape in shapes
        ]
        shapes = [rasterio.warp.transform_geom(crs, CRS, each.__geo_interface__) for each in given]
    numbers = [1 + k % 2 for k in range(len(shapes))]
    source = polygons_file(tmp_path / f"p.{ending}", given, crs, kind=numbers)
    table = rasterize(scene, source, tmp_path / "mask.tif", "kind", outside)
    expected = rasterio.features.rasterize(
        list(zip(shapes, numbers, strict=True)),
        out_shape=(60, 80),
        transform=rasterio.Affine(*PLACE.transform),
        fill=outside,
        dtype="uint8",
    )
    mask = open_raster(tmp_path / "mask.tif")
    np.testing.assert_array_equal(mask.pixels()[:, :, 0], expected)
    assert mask.place == open_raster(scene).place
    assert mask.nodata == (255 if outside else None)
    lines = "class 1: 1\nclass 2: 2"
    assert str(table) == (f"{lines}\nignore: 255" if outside else f"background: 0\n{lines}")


def test_names_become_numbers_in_alphabetical_order_and_none_is_left_out(tmp_path):
    scene, shapes = scene_file(tmp_path / "s.tif"), polygons(4)
    names = np.array(["roof", "field", None, "roof"], dtype=object)
    source = polygons_file(tmp_path / "p.gpkg", shapes, use=names)
    table = rasterize(scene, source, tmp_path / "mask.tif", "use")
    assert str(table) == "background: 0\nfield: 1\nroof: 2"
    expected = rasterio.features.rasterize(
        [(shapes[0], 2), (shapes[1], 1), (shapes[3], 2)],
        out_shape=(60, 80),
        transform=rasterio.Affine(*PLACE.transform),
    )
    np.testing.assert_array_equal(open_raster(tmp_path / "mask.tif").pixels()[..., 0], expected)


def test_polygons_that_make_no_mask_are_explained(tmp_path):
    scene, shapes = scene_file(tmp_path / "s.tif"), polygons(3)
    good = polygons_file(tmp_path / "good.gpkg", shapes, kind=[1, 2, 3], share=[0.5, 1.0, 2.0])
    far = [shapely.affinity.translate(shape, 9e5) for shape in shapes]
    flat = tmp_path / "flat.png"
    Image.new("RGB", (8, 8)).save(flat)
    (tmp_path / "text.gpkg").write_text("no polygons")
    for given, field, said in (
        ((scene, good), "name", "has no field 'name', but kind, share"),
        ((scene, good), "share", "gives no classes .0.5, 1.0, 2.0: there must be at least two"),
        (
            (scene, polygons_file(tmp_path / "far.gpkg", far)),
            None,
            "no polygon with a class lies in the scene",
        ),
        ((scene, polygons_file(tmp_path / "n.shp", shapes, None, a=[1, 1, 1])), None, "no coord"),
        ((flat, good), None, "is not georeferenced"),
        ((scene, tmp_path / "text.gpkg"), None, "cannot be read as polygons"),
    ):
        with contextlib.suppress(Warning), pytest.raises(UserError, match=said):
            rasterize(*given, tmp_path / "mask.tif", field)
    with pytest.raises(UserError, match="gives no classes .1: there must be at least two"):
        rasterize(scene, good, tmp_path / "mask.tif", outside=255)
    assert not (tmp_path / "mask.tif").exists()


def test_a_name_has_the_number_that_it_has_in_the_table_of_another_scene(tmp_path):
    scene, shapes = scene_file(tmp_path / "s.tif"), polygons(2)
    north = polygons_file(tmp_path / "north.gpkg", shapes, kind=["roof", "barn"])
    south = polygons_file(tmp_path / "south.gpkg", shapes, kind=["roof", "roof"])
    table = rasterize(scene, north, tmp_path / "north.tif", "kind")
    assert rasterize(scene, south, tmp_path / "south.tif", "kind").values[1] == ("1",)
    again = rasterize(scene, south, tmp_path / "south.tif", "kind", known=table)
    roof = int(table.values[table.names.index("roof")][0])
    stored = np.unique(open_raster(tmp_path / "south.tif").pixels())
    assert again == table and stored.tolist() == [0, roof] and roof != 1
    strange = polygons_file(tmp_path / "strange.gpkg", shapes, kind=["roof", "silo"])
    with pytest.raises(UserError, match="silo is not among those of --classes"):
        rasterize(scene, strange, tmp_path / "strange.tif", "kind", known=table)


# --- The walk of a person with a scene and polygons ---


@pytest.mark.filterwarnings("ignore")
def test_from_polygons_to_polygons_by_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    labels = np.kron(blobs((40, 48), 2), np.ones((6, 6), np.uint8))
    image = (labels[:, :, None] * np.array([900, 1500, 400, 2500]) + 300).astype(np.uint16)
    image += np.random.default_rng(0).integers(0, 90, image.shape).astype(np.uint16)
    image[:30] = 0
    with raster_file(
        "scene.tif", image.shape, "uint16", PLACE, nodata=0, photometric="rgb", alpha="no"
    ) as file:
        file.write(np.moveaxis(image, 2, 0))
    found = rasterio.features.shapes(
        labels, mask=labels > 0, transform=rasterio.Affine(*PLACE.transform)
    )
    polygons_file("roofs.gpkg", [shapely.geometry.shape(shape) for shape, _ in found])

    def call(command, status=0):
        assert main(command.split()) == status, capsys.readouterr().err
        return capsys.readouterr()

    assert "background" in call("rasterize scene.tif roofs.gpkg --out mask.tif").out
    files = "scene.tif mask.tif --classes mask_classes.txt"
    assert "roofs: 1" in call("check scene.tif mask.tif --out report").out  # the table is found
    said = call(f"check {files} --out report").out
    assert "12.50 % of the pixels are missing data" in said and "0 problems" in said
    assert "bands (red, green, blue, band 4) of uint16, 240 x 288 pixels" in said
    small = "--base-channels 4 --depth 2 --steps 60 --crop-size 32 --batch-size 4 --threads 1"
    call(f"train {files} --out run --val-split spatial {small} --cache 0")
    call("evaluate run/model.npz scene.tif mask.tif --json scores.json --threads 1")
    with open("scores.json") as file:
        scores = json.load(file)
    assert scores["classes"] == ["background", "roofs"] and scores["mean_iou"] > 0.6
    assert sum(map(sum, scores["confusion"])) == labels[30:].size  # nodata enters no score
    call("predict run/model.npz scene.tif --out maps --polygons --min-area 20 --threads 1")
    with rasterio.open("maps/scene.tif") as made:
        predicted = made.read(1)
        assert made.crs == CRS and made.nodata == 255
    assert (predicted[:30] == 255).all() and (predicted[30:] != 255).all()
    assert (predicted[30:] == labels[30:]).mean() > 0.85
    meta, _, geometry, fields = pyogrio.raw.read("maps/scene_polygons.gpkg")
    areas = dict(zip(meta["fields"], fields, strict=True))["area"]
    assert areas.min() >= 20 and areas.sum() <= 4 * labels[30:].size
    with Image.open("maps/scene_overlay.png") as picture:
        assert picture.mode == "RGB"


@pytest.mark.filterwarnings("ignore")
def test_a_scene_read_by_windows_gives_the_same_map(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with raster_file("s.tif", (90, 110, 3), "uint8", PLACE, nodata=0, photometric="rgb") as file:
        image = np.random.default_rng(0).integers(1, 255, (3, 90, 110), np.uint8)
        image[:, :20, :30] = 0
        file.write(image)
    save_model_for_three_bands("model.npz")
    for out, most in (("whole", 10**9), ("windows", 0)):
        monkeypatch.setattr("tinyunet.cli.predict.IN_MEMORY", most)
        assert main(f"predict model.npz s.tif --out {out} --tile 32 --threads 1".split()) == 0
    made = [open_raster(f"{out}/s.tif").pixels() for out in ("whole", "windows")]
    np.testing.assert_array_equal(*made)
    assert (made[0][:20, :30] == 255).all() and set(np.unique(made[0])) == {0, 1, 255}


def save_model_for_three_bands(path):
    from tinyunet.checkpoint import Model

    network = UNet(3, 2, base_channels=2, depth=1, seed=0)
    save_model(path, Model(network, Standardization([100.0] * 3, [50.0] * 3), ["a", "b"]))
