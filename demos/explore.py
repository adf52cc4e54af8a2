"""What the U-Net sees at one pixel: a web page to explore a model with, for one image.

The page is a single file that needs no server and no network. Over each pixel it shows the class
probabilities, the part of the image that the pixel can see, and the strongest feature maps of every
level, in the shape of the U; where the truth is known, also what is wrong. Strongest at a pixel is
the map whose value there lies farthest above its own mean, counted in its own standard deviations.
Of each level the page holds the maps of the highest contrast over the image (``--maps``), since all
of them would be too much for a page.

    python demos/explore.py --out page.html                      # trains one: about a minute
    python demos/explore.py MODEL IMAGE --mask MASK --out page.html
"""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
from parts.command_line import demo_parser, prepare
from parts.feature_levels import strongest, view
from parts.influence import typical_half_side
from parts.model_and_image import (
    add_arguments,
    check_arguments,
    class_colors,
    describe_part,
    model_and_image,
    read_truth,
)

from tinyunet.atomic_io import save_text
from tinyunet.errors import UserError
from tinyunet.plots.colors import as_rgb

TEMPLATE = Path(__file__).with_suffix(".html")
EMPTY = '<script type="application/json" id="numbers">null</script>'
RANKED = 8  # classes of which a pixel's probabilities are kept, the most probable ones
CERTAIN = 65535  # probabilities are kept in 16 bits
NOT_JUDGED = 65535  # the truth of a pixel that does not count


def rank(probabilities):
    """Sort the classes of each pixel by probability: indices and probabilities, (H, W, up to 8)."""
    order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :, :RANKED]
    shares = np.take_along_axis(probabilities, order, axis=-1)
    return order.astype("<u2"), np.rint(CERTAIN * shares).astype("<u2")


def as_bytes(feature_map):
    """Stretch a map (h, w) to bytes, from its own lowest value, 0, to its highest, 255."""
    low, high = float(feature_map.min()), float(feature_map.max())
    scaled = (feature_map - low) / (high - low) if high > low else np.zeros(feature_map.shape)
    return np.rint(255 * scaled).astype(np.uint8)


def describe(level):
    """List what the page needs to know of a level besides its maps."""
    names = ("name", "scale", "top", "left", "receptive_field")
    facts = {name: getattr(level, name) for name in names}
    return facts | {"rows": level.rows.tolist(), "columns": level.columns.tolist(), "maps": []}


def most_doubtful(shares):
    """Find the pixel to start at: where the two most probable classes are nearly as probable.

    The outermost eighth is left out: there the network sees less than elsewhere.
    """
    height, width = shares.shape[:2]
    doubt = (
        shares[:, :, 1].astype(float) - shares[:, :, 0] if shares.shape[2] > 1 else shares[..., 0]
    )
    inner = np.s_[height // 8 : height - height // 8, width // 8 : width - width // 8]
    row, column = np.unravel_index(doubt[inner].argmax(), doubt[inner].shape)
    return [int(row) + height // 8, int(column) + width // 8]


def contents(seen, given, half, summary, count):
    """Put together what the page shows.

    Parameters
    ----------
    seen : feature_levels.View
    given : Given
    half : int or None
        Side of the square that typically holds half of what moves a pixel's answer, if known.
    summary : str
        What is shown of the image.
    count : int
        How many maps of each level the page holds at most.

    Returns
    -------
    dict
        For JSON. All arrays are in ``"data"``, one after the other, packed: first the image, then
        the classes of each pixel, their probabilities, the truth if it is known, and the maps,
        level by level.
    """
    *levels, prediction = seen.levels
    order, shares = rank(prediction.maps)
    arrays, described = [as_rgb(seen.image), order, shares], []
    height, width = seen.image.shape[:2]
    names = given.model.class_names
    if given.truth is not None:
        truth = given.truth[seen.top : seen.top + height, seen.left : seen.left + width]
        arrays.append(np.where(truth < 0, NOT_JUDGED, truth).astype("<u2"))
    for level in levels:
        described.append(describe(level))
        for channel in strongest(level.maps)[:count].tolist():
            arrays.append(as_bytes(level.maps[:, :, channel]))
            mean, deviation = float(arrays[-1].mean()), float(arrays[-1].std())
            described[-1]["maps"].append(
                {"channel": channel + 1, "mean": mean, "deviation": deviation}
            )
    packed = zlib.compress(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays), 9)
    return {
        "title": given.image_name,
        "summary": summary,
        "explanation": explanation(levels, count),
        "height": height,
        "width": width,
        "classes": [
            {"name": name, "color": "#{:02x}{:02x}{:02x}".format(*color)}
            for name, color in zip(names, class_colors(names).tolist(), strict=True)
        ],
        "ranked": order.shape[2],
        "known": given.truth is not None,
        "start": most_doubtful(shares),
        "half": half,
        "levels": described,
        "prediction": describe(prediction),
        "data": base64.b64encode(packed).decode(),
    }


def explanation(levels, count):
    """Say what the maps and the numbers below them are."""
    most = max(level.maps.shape[2] for level in levels)
    kept = f"the {count} maps of each level that vary most" if most > count else "all maps"
    return (
        f"Chosen from {kept}. Each map has its own scale, dark for its lowest value and light for "
        "its highest; the small frame is the chosen pixel. Below it: the map's number, and how "
        "many standard deviations the value at the pixel lies above (+) or below (−) the map's "
        "mean."
    )


def fill(template, page):
    """Put the contents into the template; no text of theirs can end the script that holds them."""
    numbers = json.dumps(page).replace("<", "\\u003c")
    return template.replace(EMPTY, EMPTY.replace("null", numbers))


def main(arguments=None):
    """Run the network, write the page, and say what is in it."""
    parser, options = parse(arguments)
    try:
        given = model_and_image(options)
        if options.mask is not None:
            given.truth = read_truth(given.model, options)
        seen = view(given.model, given.image, options.size)
        summary = describe_part(given, seen, options.size)
        half = typical_half_side(given.model, given.image, options.seed)
        page = contents(seen, given, half, summary, options.maps)
        text = fill(TEMPLATE.read_text(encoding="utf-8"), page)
        save_text(text, options.out)
    except UserError as problem:
        parser.error(str(problem))
    first, last = seen.levels[0], seen.levels[-1]
    print(summary)
    print(f"The page: {options.out}, {len(text) / 1e6:.1f} MB. Open it in a browser.")
    print(
        f"You should have seen the frame of what a pixel can see grow from {first.receptive_field} "
        f"pixels across ({first.name}) to {last.receptive_field} ({last.name})"
        + (
            f"; but half of what moves an answer is in the nearest {half} x {half}."
            if half
            else "."
        )
    )


def parse(arguments):
    """Read the command line, and choose the device; gives the parser, for later errors, too."""
    parser = demo_parser(__doc__, "page.html", "page")
    add_arguments(parser)
    parser.add_argument("--mask", metavar="MASK", type=Path, help="the truth, for IMAGE")
    parser.add_argument("--maps", type=int, default=12, help="of each level in the page (12)")
    options = parser.parse_args(arguments)
    check_arguments(parser, options)
    if options.mask is not None and options.image is None:
        parser.error("--mask goes with MODEL and IMAGE: give all three")
    if not 4 <= options.maps <= 64:
        parser.error("--maps must be 4 to 64")
    prepare(parser, options)
    if options.out.resolve() == TEMPLATE.resolve():
        parser.error(
            f"{options.out} is the empty page, which is still needed: choose another --out"
        )
    return parser, options


if __name__ == "__main__":
    main()
