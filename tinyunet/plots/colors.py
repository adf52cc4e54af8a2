"""The color of each class, the same in every picture, and images of any kind made visible."""

import numpy as np

# The first eight: Okabe and Ito, "Color Universal Design", 2008: https://jfly.uni-koeln.de/color/
# Each further one was chosen, on a regular grid, to be farthest from all before it as people see
# them who see the least difference: with common vision, or without red, green or blue cones.
_HEX = """
    0072b2 e69f00 009e73 f0e442 d55e00 56b4e9 cc79a7 000000 8000ff 552a00 2a0080 aaffaa
    800055 ff0055 aa55ff 80552a d4aa55 555580 552a80 2a002a 2a2a2a aa80ff d4ffd4 aad4aa
"""
PALETTE = np.array([tuple(bytes.fromhex(color)) for color in _HEX.split()], dtype=np.uint8)
IGNORED = (205, 205, 205)


def palette(classes: int) -> np.ndarray:
    """Give each class a color that everybody can tell from the others.

    After the 24 colors of `PALETTE` they repeat.

    Parameters
    ----------
    classes : int

    Returns
    -------
    array (classes, 3), uint8
    """
    return PALETTE[np.arange(classes) % len(PALETTE)]


def color_mask(
    mask: np.ndarray, ignore_index: int | None = None, colors: np.ndarray = PALETTE
) -> np.ndarray:
    """Paint each pixel of a mask in the color of its class.

    Parameters
    ----------
    mask : array of integers, usually (H, W)
    ignore_index : int, optional
        Pixels of this value are painted gray.
    colors : array (K, 3), uint8
        Of the classes.

    Returns
    -------
    array (H, W, 3), uint8
    """
    painted = colors[mask.astype(np.int64) % len(colors)]
    if ignore_index is not None:
        painted[mask == ignore_index] = IGNORED
    return painted


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Make any image visible.

    Three or more channels: the first three are red, green and blue. Fewer: the first is gray.
    Numbers other than bytes are stretched so that the darkest and lightest hundredth of them
    become black and white.

    Parameters
    ----------
    image : array (H, W, C) or (H, W), any number type

    Returns
    -------
    array (H, W, 3), uint8
    """
    image = image.reshape(*image.shape[:2], -1)
    image = image[:, :, :3] if image.shape[2] >= 3 else image[:, :, [0, 0, 0]]
    if image.dtype == np.uint8:
        return image
    values = np.nan_to_num(image.astype(np.float64), posinf=0.0, neginf=0.0)
    darkest, lightest = np.percentile(values, [1, 99])
    return np.interp(values, [darkest, lightest], [0, 255]).round().astype(np.uint8)


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    ignore_index: int | None = None,
    colors: np.ndarray = PALETTE,
) -> np.ndarray:
    """Lay the colors of a mask over what the image shows of light and dark.

    A transparent color over a dark image is another color than over a light one. So only the
    deviations of the light from its mean in the class are added, and the class keeps its color.

    Parameters
    ----------
    image : array (H, W, C)
    mask : array (H, W) of classes
    ignore_index, colors
        As in `color_mask`.

    Returns
    -------
    array (H, W, 3), uint8
    """
    light = as_rgb(image).mean(axis=2)
    _, areas = np.unique(mask.ravel(), return_inverse=True)
    means = np.bincount(areas, light.ravel()) / np.bincount(areas)
    deviation = light - means[areas].reshape(light.shape)
    painted = color_mask(mask, ignore_index, colors) + 0.5 * deviation[:, :, np.newaxis]
    return painted.round().clip(0, 255).astype(np.uint8)
