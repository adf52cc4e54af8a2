"""Painted scenes: aerial photographs of a landscape that does not exist, and their exact masks.

They are made for one lesson: **color alone cannot tell what something is.** Three materials cover
the ground, and the color is chosen by the material, never by the class:

========= ============================================= =========================================
material  belongs to                                    what tells the two classes apart
========= ============================================= =========================================
grass     a meadow, or an orchard meadow                whether trees stand around it on a grid
leaves    an orchard meadow, or a forest                whether the trees stand apart or crowded
gray      the roof of a building, or a road             the outline
========= ============================================= =========================================

A scene is a stack of maps of the same size (`Land`): class, material, tone and height of every
pixel. The functions below draw into it one after another, in the order in which people change a
landscape: fields, roads, houses, trees. Then `photograph` colors the materials and lets one sun
shine on all of it. A pixel is about 40 cm wide, and heights are counted in pixels too.
"""

import dataclasses
import math

import numpy as np
from PIL import Image, ImageFilter

from tinyunet.data.dataset import Dataset
from tinyunet.errors import UserError

CLASSES = ("orchard meadow", "meadow", "forest", "building", "road")
ORCHARD, MEADOW, FOREST, BUILDING, ROAD = range(len(CLASSES))
# How a class is drawn in every figure: orange, yellow, green, vermilion, sky blue (Okabe and Ito).
CLASS_COLORS = np.array(
    [(230, 159, 0), (240, 228, 66), (0, 158, 115), (213, 94, 0), (86, 180, 233)], np.uint8
)
NO_FIELD = 65535

# A material has three colors (red, green, blue); the tone of a thing, 0 to 1, lies between them.
GRASS, LEAVES, GRAY = range(3)
COLORS = np.array(
    [
        [[88, 124, 58], [126, 152, 74], [188, 180, 114]],  # lush, mown, dry
        [[44, 78, 42], [64, 98, 48], [96, 124, 62]],
        [[104, 106, 112], [150, 150, 152], [206, 200, 190]],  # slate and asphalt to concrete
    ],
    np.float32,
)
ROUGHNESS = np.array([1.0, 1.0, 0.4], np.float32)  # how much the tone varies within one thing


@dataclasses.dataclass
class Land:
    """What is where: maps of shape (H, W). The coordinates' origin is in the middle."""

    y: np.ndarray
    x: np.ndarray
    field: np.ndarray  # the number of the field, or NO_FIELD
    label: np.ndarray  # the class: what a network shall predict
    material: np.ndarray  # GRASS, LEAVES or GRAY
    tone: np.ndarray  # one for each field, tree, roof and road
    height: np.ndarray  # above the ground: makes light and shadow

    def put(self, where, label, material, tone, height=0.0):
        """Draw one thing over what was there; `where` is a boolean map."""
        self.label[where] = label
        self.material[where] = material
        self.tone[where] = tone
        self.height[where] = height

    def around(self, y, x, reach):
        """Return the same maps in a window around a point: what is drawn there is drawn here."""
        row, column = round(y + self.y.shape[0] / 2), round(x + self.y.shape[1] / 2)
        rows = slice(max(row - reach, 0), max(row + reach + 1, 0))
        columns = slice(max(column - reach, 0), max(column + reach + 1, 0))
        return Land(*(whole[rows, columns] for whole in vars(self).values()))


def paint_scene(size=(192, 192), seed=0):
    """Paint one scene.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels.
    seed : int or sequence of int
        The same seed and size give the same scene, to the bit.

    Returns
    -------
    image : (H, W, 3) uint8 array
        The photograph.
    mask : (H, W) uint8 array
        The class of every pixel: an index into `CLASSES`. A small scene may lack a class.

    Raises
    ------
    UserError
        If the size is below 32 x 32 pixels: there is no room for a landscape.
    """
    if min(size) < 32:
        raise UserError(f"a scene of {size[0]} x {size[1]} pixels is too small: at least 32 x 32")
    rng = np.random.default_rng(seed)
    land = draw_land(size, rng)
    return photograph(land, rng), land.label


def paint_scenes(count, size=(192, 192), seed=0):
    """Paint a data set of scenes.

    Parameters
    ----------
    count : int
        How many.
    size : (int, int)
        Height and width of each, in pixels.
    seed : int
        Scene k of seed s is always the same, and no scene of another seed.

    Returns
    -------
    Dataset
        Ready for `tinyunet.data.augmentation.sample_batch`.
    """
    scenes = [paint_scene(size, (seed, k)) for k in range(count)]
    images, masks = (list(maps) for maps in zip(*scenes, strict=True))
    return Dataset([f"scene-{seed}-{k}" for k in range(count)], images, masks)


def draw_land(size, rng):
    """Lay out the fields, the roads with their houses, and the trees; returns a `Land`."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    maps = (np.zeros(size, dtype) for dtype in ("u2", "u1", "u1", "f4", "f4"))
    land = Land(y - height / 2, x - width / 2, *maps)
    count = max(5, round(height * width / 64**2))
    divide_into_fields(land, count, rng)
    build_roads(land, rng)
    for k, number in enumerate(rng.permutation(count)):
        if k % 4 in (0, 2):
            plant_orchard(land, number, rng)
        elif k % 4 == 1:
            plant_forest(land, number, rng)
    return land


def smooth_noise(size, grain, rng):
    """Random hills about `grain` pixels wide, around 0, with a standard deviation of about 0.6."""
    height, width = size
    coarse = rng.standard_normal((height // grain + 2, width // grain + 2), np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def divide_into_fields(land, count, rng):
    """Cut the land up as heirs do: again and again, the largest field is cut across in two."""
    y = land.y + 5 * smooth_noise(land.y.shape, 40, rng)  # bent coordinates: crooked borders
    x = land.x + 5 * smooth_noise(land.y.shape, 40, rng)
    for new in range(1, count):
        largest = np.nonzero(land.field == np.bincount(land.field.ravel()).argmax())
        points = np.stack([y[largest], x[largest]], axis=1)
        points -= points.mean(axis=0)
        longest = np.linalg.eigh(points.T @ points)[1][:, 1]  # the direction of its length
        beyond = points @ (longest + rng.normal(0, 0.12, 2)) > rng.normal(0, 4)
        land.field[largest[0][beyond], largest[1][beyond]] = new
    for number in range(count):
        field = land.field == number
        land.put(field, MEADOW, GRASS, mown_grass(land.y[field], land.x[field], rng))


def mown_grass(y, x, rng):
    """Return the tones of a field: one of its own, and the stripes that a mower leaves."""
    angle, width = rng.uniform(0, np.pi), rng.uniform(5, 9)
    stripes = np.sin((y * np.sin(angle) + x * np.cos(angle)) * 2 * np.pi / width)
    return rng.uniform() + rng.uniform(0, 0.08) * stripes


def build_roads(land, rng):
    """One road through the scene, another that leaves it, and houses along both."""
    angle, start = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2, 2) * land.y.shape
    turn = rng.choice([-1, 1]) * rng.uniform(1.1, 2.0)
    main = draw_road(land, start, angle, rng)
    side = draw_road(land, start, angle + turn, rng, begins=0)
    extent = math.sqrt(land.y.size)
    build_houses(land, main, rng, attempts=round(extent / 12), spread=extent / 3)
    build_houses(land, side, rng, attempts=round(extent / 24), spread=extent / 3)


def draw_road(land, start, angle, rng, begins=-np.inf):
    """Draw a winding road through the point `start`; returns its course.

    The course is a function: so many pixels along the road, and so many to its side, is the point
    (y, x), and there the road has this angle.
    """
    forward = np.array([np.sin(angle), np.cos(angle)])
    sideways = np.array([np.cos(angle), -np.sin(angle)])
    bend, wave = rng.choice([0, 6, 12]), rng.uniform(30, 60)

    def swing(along):
        return bend * (1 - np.cos(along / wave)), bend / wave * np.sin(along / wave)

    y, x = land.y - start[0], land.x - start[1]
    along = y * forward[0] + x * forward[1]
    middle, slope = swing(along)
    distance = np.abs(y * sideways[0] + x * sideways[1] - middle) / np.sqrt(1 + slope**2)
    road = (distance < rng.uniform(3.5, 5)) & (along > begins)
    land.put(road, ROAD, GRAY, rng.uniform())
    land.field[road] = NO_FIELD

    def course(along, aside):
        middle, slope = swing(along)
        normal = (sideways - slope * forward) / np.hypot(1, slope)
        point = start + along * forward + middle * sideways + aside * normal
        return point, angle - np.arctan(slope)

    return course


def build_houses(land, course, rng, attempts, spread):
    """Choose places on both sides of a road; build where the ground is free."""
    for _attempt in range(attempts):
        half_width, half_length = rng.uniform(6, 9), rng.uniform(8, 14)
        aside = rng.choice([-1, 1]) * (rng.uniform(10, 14) + half_width)
        (y, x), angle = course(rng.normal(0, spread), aside)
        window = land.around(y, x, 28)
        angle += rng.normal(0, 0.05)
        build_house(window, window.y - y, window.x - x, angle, half_width, half_length, rng)


def build_house(land, y, x, angle, half_width, half_length, rng):
    """Build a house with a flat or a gabled roof in a small garden, unless something is there."""
    along = np.abs(x * np.cos(angle) + y * np.sin(angle))  # from the center, along the ridge
    across = np.abs(y * np.cos(angle) - x * np.sin(angle))
    outside = np.maximum(along - half_length, across - half_width)  # beyond the nearest wall
    roof, garden = outside < 0, (outside < 7) & (land.label < BUILDING)
    if roof.sum() > 60 and not (land.label[outside < 4] >= BUILDING).any():
        land.put(garden, MEADOW, GRASS, rng.uniform())
        land.put(roof, BUILDING, GRAY, rng.uniform(), (9 - rng.choice([0, 0.5]) * across)[roof])
        land.field[garden] = NO_FIELD


def plant_orchard(land, number, rng):
    """Plant trees on a loose grid: each a little off its place, a few missing."""
    angle, spacing = rng.uniform(0, np.pi / 2), rng.uniform(11, 14)
    half = np.hypot(*land.y.shape) / 2
    grid = np.mgrid[-half:half:spacing, -half:half:spacing].reshape(2, -1)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    places = turn @ grid + rng.normal(0, 0.7, grid.shape)
    places = places[:, rng.uniform(size=grid.shape[1]) < 0.95]
    plant(land, number, places, ORCHARD, margin=4, reach=1.1 * spacing, rng=rng)


def plant_forest(land, number, rng):
    """Plant the same trees, crowded and without order."""
    half = np.reshape(land.y.shape, (2, 1)) / 2
    places = rng.uniform(-half, half, (2, land.y.size // 16))
    plant(land, number, places, FOREST, margin=2, reach=6, rng=rng)


def plant(land, number, places, label, margin, reach, rng):
    """Plant trees where the field of this number is free for `margin` pixels around.

    `places` are points (y, x), shape (2, trees). The field's grass within `reach` pixels of a trunk
    becomes part of the orchard or the forest; what is left of the field stays a meadow.
    """
    field = np.pad(land.field == number, 1)  # nothing is free outside the scene
    free = Image.fromarray(np.uint8(255 * field)).filter(ImageFilter.BoxBlur(margin))
    pixels = np.rint(places + np.reshape(land.y.shape, (2, 1)) / 2).astype(int) + 1
    pixels = np.clip(pixels, 0, np.reshape(field.shape, (2, 1)) - 1)
    places = places[:, np.asarray(free)[tuple(pixels)] == 255]
    between = np.square(places[:, :, None] - places[:, None]).sum(axis=0)
    in_company = (between < (1.5 * reach) ** 2).sum(axis=0) > 2  # itself and two more
    for y, x in places[:, in_company].T:
        window = land.around(y, x, int(reach) + 1)
        distance = np.hypot(window.y - y, window.x - x)
        grass = (window.field == number) & (window.material == GRASS)
        window.label[grass & (distance < reach)] = label
        draw_tree(window, distance, label, rng)


def draw_tree(land, distance, label, rng):
    """Draw a round crown, half a ball on a trunk; given is the distance from the trunk."""
    radius = rng.uniform(3, 4.6)
    height = 1.5 + 1.1 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
    crown = (distance < radius) & (height > land.height)
    land.put(crown, label, LEAVES, rng.uniform(), height[crown])


def photograph(land, rng):
    """Color the materials, light them, add noise and a soft lens; returns (H, W, 3) uint8."""
    size = land.y.shape
    texture = 0.12 * smooth_noise(size, 24, rng) + 0.12 * smooth_noise(size, 4, rng)
    tone = np.clip(land.tone + texture * ROUGHNESS[land.material], 0, 1)
    dark, middle, light = (COLORS[land.material, k] for k in range(3))
    tone = 2 * tone[..., None]
    color = dark + (middle - dark) * np.minimum(tone, 1)
    image = (color + (light - middle) * np.maximum(tone - 1, 0)) * sunlight(land, rng)
    image = np.clip(image + 5 * rng.standard_normal((*size, 1), np.float32), 0, 255)
    return np.asarray(Image.fromarray(np.uint8(image)).filter(ImageFilter.GaussianBlur(0.6)))


def sunlight(land, rng):
    """How brightly each pixel is lit, (H, W, 3): by its slope, by shadows, and unevenly."""
    size = land.y.shape
    direction = rng.uniform(0, 2 * np.pi)
    sun = np.array([np.sin(direction), np.cos(direction)], np.float32)
    leafy = land.height + 0.8 * (land.material == LEAVES) * smooth_noise(size, 2, rng)
    slope_y, slope_x = np.gradient(leafy)
    facing = np.clip(-slope_y * sun[0] - slope_x * sun[1], -0.6, 0.6) * (land.height > 0)
    reach = 12
    shadow = np.zeros(size, np.float32)
    padded = np.pad(land.height, reach, mode="edge")
    for distance in range(1, reach):  # what stands so far towards the sun, and is it high enough?
        down, right = np.rint(sun * distance).astype(int) + reach
        towards_sun = padded[down : down + size[0], right : right + size[1]]
        np.maximum(shadow, np.clip(towards_sun - land.height - 1.25 * distance, 0, 1), out=shadow)
    uneven = 1 + 0.1 * (land.y * rng.normal() + land.x * rng.normal()) / max(size)
    warm = np.array([1.06, 1.02, 0.96], np.float32)  # the sun
    blue = np.array([0.36, 0.40, 0.47], np.float32)  # the sky, which also lights the shadows
    direct = ((0.62 + 0.4 * facing) * (1 - shadow) * uneven)[..., None]
    return np.float32(blue + direct * warm)
