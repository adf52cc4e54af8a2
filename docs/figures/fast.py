"""Figure of the chapter on speed."""

from figure_style import BLUE, INK, VERMILION, panels

from tinyunet.fast.bands import BAND_BYTES
from tinyunet.nn.summary import summarize
from tinyunet.nn.unet import UNet

BATCH = 8


def fast_bands(quick):
    """Draw the size of each convolution's whole patch matrix, and that of a band."""
    network = UNet(3, 2, base_channels=16, depth=4)
    weights = {name: parameter.data for name, parameter in network.named_parameters()}
    sizes = {}
    for row in summarize(network, 128).rows:
        if row.kind == "Conv2d" and row.name != "head":
            _, height, width, _ = row.output_shape
            kernel_height, kernel_width, channels, _ = weights[f"{row.name}.weight"].shape
            numbers = BATCH * height * width * kernel_height * kernel_width * channels
            sizes[row.name] = 4 * numbers / 2**20
    figure, (axes,) = panels(height=3.6)
    axes.bar(range(len(sizes)), sizes.values(), color=BLUE, width=0.7)
    band = BAND_BYTES["cpu"] / 2**20
    axes.axhline(band, color=VERMILION)
    axes.annotate(
        f"the size of a band: {band:g}",
        (8.5, band),
        (8.5, 45),
        ha="center",
        color=INK,
        arrowprops={"arrowstyle": "->", "color": INK, "relpos": (0.5, 0)},
    )
    axes.set_xticks(range(len(sizes)), sizes, rotation=60, ha="right", fontsize=9)
    axes.grid(False, axis="x")
    axes.set_title("the whole patch matrix, in megabytes", loc="left")
    return figure


FIGURES = {"fast_bands": fast_bands}
