"""Figures of the chapter on softmax cross-entropy."""

import numpy as np
from figure_style import BLUE, LEVEL, VERMILION, arrow, canvas, cells, frame, panels, write

from tinyunet.nn.functional import softmax, softmax_cross_entropy


def cross_entropy_idea(quick):
    """Show two pixels' way from logits over probabilities to the loss."""
    logits, labels = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), np.array([0, 2])
    probabilities = softmax(logits)[0]
    true = probabilities[[0, 1], labels]
    loss, _ = softmax_cross_entropy(logits[None, None], labels[None, None])
    figure, axes = canvas(18, 3.3)
    parts = (  # title, first row and column, numbers, form
        ("logits", 1, 0.6, logits, "{:g}"),
        ("probabilities", 1, 6.6, probabilities, "{:.2f}"),
        ("\N{MINUS SIGN}log", 1, 12.6, -np.log(true)[:, None], "{:.2f}"),
        ("the loss", 1.5, 16.4, loss[None, None], "{:.2f}"),
    )
    for title, row, column, numbers, form in parts:
        high = 1 if title == "probabilities" else 2
        size = 11 if form == "{:g}" else 9.5
        cells(axes, numbers, at=(row, column), form=form, high=high, colors=LEVEL, size=size)
        write(axes, 0, column + (numbers.shape[1] - 1) / 2, title, size=12)
    for row, label in enumerate(labels):
        frame(axes, 1 + row, 6.6 + label)
    for row, column, text in (
        (1.5, 3.4, "softmax"),
        (1.5, 9.4, "of the true"),
        (1.5, 13.4, "mean"),
    ):
        arrow(axes, (row, column), (row, column + 2.3))
        write(axes, row + 0.6, column + 1.15, text, size=10)
    return figure


def cross_entropy_curves(quick):
    """Draw -log p over p and its gradient over the logit, with the squared error beside both."""
    z = np.linspace(-8, 8, 321)  # the logit of the true class; that of the other is 0
    logits = np.stack([z, 0 * z], axis=-1)[None, None]
    truth = np.zeros((1, 1, len(z)), dtype=int)
    losses = np.array(
        [
            float(softmax_cross_entropy(logits[:, :, i : i + 1], truth[:, :, :1])[0])
            for i in range(len(z))
        ]
    )
    gradient = softmax_cross_entropy(logits, truth)[1]()[0, 0, :, 0] * len(z)  # of a pixel
    probabilities, softmax_backward = softmax(logits)
    p = probabilities[0, 0, :, 0]
    dp = np.zeros_like(logits)
    dp[0, 0, :, 0] = 2 * (p - 1)
    gradient_of_square = softmax_backward(dp)[0, 0, :, 0]

    figure, (loss, slope) = panels(1, 2, height=3.4)
    loss.plot(p, losses, color=BLUE)
    loss.plot(p, (1 - p) ** 2, "--", color=VERMILION)
    loss.set(title="the loss", xlabel="probability p of the true class", ylim=(-0.15, 5))
    loss.text(0.16, 2.6, "\N{MINUS SIGN}log p", color=BLUE, fontsize=12)
    loss.text(0.02, 0.25, "(1 \N{MINUS SIGN} p)\N{SUPERSCRIPT TWO}", color=VERMILION, fontsize=12)
    slope.plot(z, gradient, color=BLUE)
    slope.plot(z, gradient_of_square, "--", color=VERMILION)
    slope.set(title="its gradient", xlabel="logit of the true class, the other's is 0")
    slope.text(-7.6, -0.9, "p \N{MINUS SIGN} 1", color=BLUE, fontsize=12)
    slope.text(
        -7.9, -0.19, "of (1 \N{MINUS SIGN} p)\N{SUPERSCRIPT TWO}", color=VERMILION, fontsize=12
    )
    return figure


FIGURES = {
    "cross_entropy_idea": cross_entropy_idea,
    "cross_entropy_curves": cross_entropy_curves,
}
