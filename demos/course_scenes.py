"""Paint the georeferenced scenes of the course's unit, with polygons of their buildings.

Nothing has to be downloaded: the land is painted. It lies in UTM zone 32; a pixel is 40 cm wide.
`docs/course_unit.md` walks through what is done with it.

    python demos/course_scenes.py land        # makes land/scene.tif, land/buildings.gpkg, ...
"""

import argparse
from pathlib import Path

import numpy as np

from tinyunet.atomic_io import make_folder
from tinyunet.data.images import Place
from tinyunet.data.maps import raster_file, rasterize, save_class_map, save_polygons
from tinyunet.data.scenes import BUILDING, paint_scene

NAMES = ["other", "building"]
COLORS = np.array([(255, 255, 255), (213, 94, 0)], np.uint8)


def main(arguments=None):
    """Paint a scene to learn from, one to test on, and one of another kind."""
    from rasterio.crs import CRS

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=512, help="height of the scenes in pixels")
    options = parser.parse_args(arguments)
    folder, crs = make_folder(options.folder), CRS.from_epsg(32632).to_wkt()
    for number, name in enumerate(("scene", "test", "elsewhere")):
        size = (options.size, 3 * options.size // 2) if number == 0 else (options.size,) * 2
        image, mask = paint_scene(size, seed=(7, number))
        if name == "elsewhere":
            image = image[:, :, [1, 0, 2]]  # another season: what was green is red
        east = 600_000 + 400 * number  # meters
        place = Place((0.4, 0, east, 0, -0.4, 5_600_000), crs)
        with raster_file(folder / f"{name}.tif", image.shape, "uint8", place) as file:
            file.write(np.moveaxis(image, -1, 0))
        buildings = np.where(mask == BUILDING, 1, 255).astype(np.uint8)
        drawn = folder / f"{name}_drawn.tif"
        save_class_map(drawn, buildings, place, NAMES, COLORS)
        polygons = folder / ("buildings.gpkg" if number == 0 else f"{name}_buildings.gpkg")
        save_polygons(drawn, polygons, NAMES)
        drawn.unlink()
        drawn.with_suffix(".qml").unlink()
    for name in ("test", "elsewhere"):
        polygons = folder / f"{name}_buildings.gpkg"
        rasterize(folder / f"{name}.tif", polygons, folder / f"{name}_mask.tif")
    print(f"The scenes and the polygons of their buildings are in {folder}.")


if __name__ == "__main__":
    main()
