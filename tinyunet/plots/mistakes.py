"""Where a model goes wrong, to be looked at: which classes it confuses, on which images.

A score says how good a model is, not why it is not better. Two pictures tell more: the confusion
matrix shows which class is taken for which, and the worst images show where. Often the mistake is
then seen to be in the masks.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from tinyunet.inference.evaluation import Scores, format_score
from tinyunet.plots.contact_sheet import sheet_legend, shortened
from tinyunet.plots.pictures import (
    FRAME,
    INK,
    PALETTE,
    PAPER,
    as_rgb,
    color_mask,
    preview,
    stacked,
    text_size,
    write_text,
)

RIGHT, WRONG = PALETTE[0], PALETTE[4]  # blue, vermilion
MISTAKE = (150, 0, 60)  # dark red, which is the color of no class
PANEL = 240  # pixels, the longest side of a picture


def draw_confusion(
    scores: Scores, class_names: Sequence[str], ignore_index: int | None = None
) -> Image.Image:
    """Draw the confusion matrix: of 100 pixels of a class, how many were predicted as each.

    Parameters
    ----------
    scores : Scores
    class_names : sequence of K str
    ignore_index : int, optional
        If it is a class, it is left out.

    Returns
    -------
    PIL.Image.Image, RGB
        What is right, on the diagonal, is blue, and what is wrong is red; the more, the darker.
        Beside each row the class's share of the truth, and its IoU.
    """
    shown = [index for index in range(len(class_names)) if index != ignore_index]
    names = [shortened(class_names[index]) for index in shown]
    pixels = scores.confusion[np.ix_(shown, shown)]
    total = pixels.sum(axis=1)
    cell = min(72, max(26, 720 // len(shown)))
    size = min(18, cell // 3 + 3)
    name_width = max([text_size(name, 16)[0] for name in names])
    upright = name_width > cell - 4  # column names stand on end where there is no room
    top = 76 + max(name_width if upright else 20, 40)
    left = 16 + name_width + 12
    titles = ("share of\nthe truth", "IoU")
    end = left + cell * len(shown)
    heading = "Of 100 pixels of the class on the left,\nhow many were predicted as the class above"
    width = max(end + 180, text_size(heading, 18)[0] + 32)
    sheet = Image.new("RGB", (width, top + cell * len(shown) + 16), PAPER)
    draw = ImageDraw.Draw(sheet)
    write_text(draw, (width / 2, 12), heading, 18, "ma")
    for x, title in zip((end + 60, end + 140), titles, strict=True):
        write_text(draw, (x, top - 6), title, 14, "md")
    for index, name in enumerate(names):
        middle = left + cell * index + cell // 2
        if upright:
            label = Image.new("RGB", (name_width, 22), PAPER)
            write_text(ImageDraw.Draw(label), (0, 11), name, 16, "lm")
            label = label.transpose(Image.Transpose.ROTATE_90)
            sheet.paste(label, (middle - label.width // 2, top - 6 - label.height))
        else:
            write_text(draw, (middle, top - 6), name, 16, "md")
        middle = top + cell * index + cell // 2
        write_text(draw, (left - 10, middle), name, 16, "rm")
        share = f"{100 * total[index] / max(total.sum(), 1):.1f} %"
        write_text(draw, (end + 60, middle), share, 16, "mm")
        write_text(
            draw, (end + 140, middle), format_score(scores.iou[shown[index]]).strip(), 16, "mm"
        )
    for row, column in np.ndindex(*pixels.shape):
        share = pixels[row, column] / total[row] if total[row] else 0.0
        corner = (left + cell * column, top + cell * row)
        full = RIGHT if row == column else WRONG
        shade = tuple(np.rint(255 + np.sqrt(share) * (full - 255.0)).astype(int).tolist())
        opposite = (corner[0] + cell, corner[1] + cell)
        draw.rectangle((*corner, *opposite), fill=shade, outline=FRAME)
        center = (corner[0] + cell / 2, corner[1] + cell / 2)
        color = PAPER if share > 0.4 else INK
        write_text(draw, center, percent(share, total[row]), size, "mm", color)
    return sheet


def percent(share: float, total: int) -> str:
    """Write a share in at most three characters; a dash where there was nothing to predict."""
    if total == 0:
        return "-"
    if 0 < share < 0.005:
        return "<1"
    return f"{100 * share:.0f}" if share == 1 or share < 0.995 else ">99"


def worst_images(confusions: Sequence[np.ndarray], most: int = 6) -> list[int]:
    """Pick the images that cost the most: those with the most wrong pixels, the worst first."""
    wrong = [int(confusion.sum() - np.trace(confusion)) for confusion in confusions]
    order = sorted(range(len(wrong)), key=lambda index: -wrong[index])
    return [index for index in order[:most] if wrong[index]]


def draw_mistakes(
    cases: Sequence[tuple], class_names: Sequence[str], ignore_index: int | None = None
) -> Image.Image:
    """Show images with their truth, the prediction, and where the two disagree.

    Parameters
    ----------
    cases : sequence of (name, image, truth, prediction)
        Image (H, W, C), masks (H, W) of classes.
    class_names : sequence of str
        For the legend below.
    ignore_index : int, optional
        Pixels whose truth has this value are neither right nor wrong.

    Returns
    -------
    PIL.Image.Image, RGB
    """
    names, colors = sheet_legend(class_names, ignore_index)
    rows = []
    for number, (name, image, truth, prediction) in enumerate(cases, start=1):
        wrong = truth != prediction
        counted = np.ones_like(wrong) if ignore_index is None else truth != ignore_index
        share = 100 * (wrong & counted).sum() / max(counted.sum(), 1)
        every = -(-max(truth.shape) // (4 * PANEL))  # a scene has far more than is shown
        thin = (slice(None, None, every),) * 2
        masks = [color_mask(mask[thin], ignore_index) for mask in (truth, prediction)]
        pale = 255 - (255 - as_rgb(image[thin]).mean(axis=2)) / 3
        disagreement = np.repeat(pale[:, :, np.newaxis], 3, axis=2).astype(np.uint8)
        disagreement[(wrong & counted)[thin]] = MISTAKE
        titles = (shortened(name), "truth", "prediction", f"{share:.1f} % wrong (red)")
        rows.append(
            preview(
                [(image[thin], *masks, disagreement)],
                names if number == len(cases) else [],
                titles=titles,
                colors=colors,
                panel=PANEL,
            )
        )
    return stacked(rows)
