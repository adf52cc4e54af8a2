"""A contact sheet: many images at a glance, each beside itself with its mask in color."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from tinyunet.plots.pictures import (
    IGNORED,
    PALETTE,
    PAPER,
    as_rgb,
    color_mask,
    palette,
    preview,
    stacked,
)

PER_ROW = 2  # pairs of image and overlay
PANEL = 240  # pixels, the longest side of a picture
MOST_NAMES = 24  # in the legend


def contact_sheet(
    panels: Sequence[tuple[str, np.ndarray, np.ndarray]],
    class_names: Sequence[str],
    ignore_index: int | None = None,
) -> Image.Image:
    """Show images in pairs: as they are, and in gray under the colors of their mask.

    Parameters
    ----------
    panels : sequence of (title, image, mask)
        Images (H, W, C); masks (H, W) of classes, or (H, W, 3) in colors of their own.
    class_names : sequence of str
        For the legend below.
    ignore_index : int, optional
        The mask value that is painted gray.

    Returns
    -------
    PIL.Image.Image, RGB
    """
    names, colors = sheet_legend(class_names, ignore_index)
    rows = []
    for start in range(0, len(panels), PER_ROW):
        titles, pictures = [], []
        for title, image, mask in panels[start : start + PER_ROW]:
            every = -(-max(mask.shape[:2]) // (4 * PANEL))  # a scene has far more than is shown
            image, mask = image[::every, ::every], mask[::every, ::every]
            titles += [shortened(title), "with its mask"]
            pictures += [image, overlay(image, mask, ignore_index)]
        legend = names if start + PER_ROW >= len(panels) else []
        rows.append(preview([pictures], legend, titles=titles, colors=colors, panel=PANEL))
    return stacked(rows)


def sheet_legend(class_names: Sequence[str], ignore_index: int | None = None):
    """Choose the color of each class for the legend of a sheet, with one for what is ignored.

    Returns
    -------
    names : list of str
        At most `MOST_NAMES`.
    colors : array (at least that many, 3), uint8
    """
    names = list(class_names)
    colors = palette(max(len(names) + 1, len(PALETTE))).copy()
    if ignore_index is not None:
        if not 0 <= ignore_index < len(names):
            names.append(str(ignore_index))
        place = min(ignore_index, len(names) - 1) if ignore_index >= 0 else len(names) - 1
        names[place] += " (not counted)"
        colors[place] = IGNORED
    if len(names) > MOST_NAMES:
        names = [*names[: MOST_NAMES - 1], f"and {len(names) - MOST_NAMES + 1} more"]
        colors[MOST_NAMES - 1] = PAPER
    return names, colors


def overlay(image: np.ndarray, mask: np.ndarray, ignore_index: int | None = None) -> np.ndarray:
    """Lay the colors of a mask over what the image shows of light and dark.

    A transparent color over a dark image is another color than over a light one. So only the
    deviations of the light from its mean in the class are added, and the class keeps its color.

    Parameters
    ----------
    image : array (H, W, C)
    mask : array (H, W) of classes, or (H, W, 3) in colors of its own
    ignore_index : int, optional
        The mask value that is painted gray.

    Returns
    -------
    array (H, W, 3), uint8
    """
    colors = mask if mask.ndim == 3 else color_mask(mask, ignore_index)
    areas = mask if mask.ndim == 2 else np.zeros(mask.shape[:2], dtype=np.uint8)
    light = as_rgb(image).mean(axis=2)
    _, areas = np.unique(areas, return_inverse=True)
    areas = areas.ravel()
    means = np.bincount(areas, light.ravel()) / np.bincount(areas)
    deviation = light - means[areas].reshape(light.shape)
    return np.round(colors + 0.5 * deviation[:, :, np.newaxis]).clip(0, 255).astype(np.uint8)


def shortened(title: str, most: int = 24) -> str:
    """Cut a long title in the middle, where names of files differ least."""
    if len(title) <= most:
        return title
    return title[: most // 2 - 1] + "..." + title[-(most // 2 - 2) :]
