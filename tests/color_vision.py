"""How different colors look, to those who see the smallest difference."""

import numpy as np

# How linear red, green, blue look to people without red, green, or blue cones.
# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency", 2009, severity 1.
VISIONS = {
    "common": np.eye(3),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def color_distance(colors, others, visions=VISIONS) -> np.ndarray:
    """Measure the distance in CIELAB (about 2 is just noticeable), at its smallest over visions.

    Parameters
    ----------
    colors, others : arrays (..., 3), sRGB from 0 to 255
        Compared element by element, as NumPy broadcasts them.
    visions : names of `VISIONS`
    """
    matrices = [VISIONS[name] for name in visions]
    differences = [lab(colors, matrix) - lab(others, matrix) for matrix in matrices]
    return np.min([np.linalg.norm(difference, axis=-1) for difference in differences], axis=0)


def lab(colors, vision) -> np.ndarray:
    """Convert sRGB to CIELAB (white point D65), as seen through a matrix on linear RGB."""
    srgb = np.asarray(colors) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = (linear @ np.transpose(vision)).clip(0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.transpose(to_xyz) / [0.9505, 1.0, 1.089]
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
