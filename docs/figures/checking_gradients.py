"""Figures of the chapter on checking gradients."""

import numpy as np
from figure_style import BLUE, INK, VERMILION, demo, panels


def checking_gradients_idea(quick):
    """Draw a curve, its tangent, and the two lines whose slopes are measured."""

    def f(x):
        return x**3

    x, h = np.linspace(0.3, 1.75, 100), 0.5
    measured = {"one-sided": (f(1 + h) - f(1)) / h, "central": (f(1 + h) - f(1 - h)) / (2 * h)}
    figure, (axes,) = panels(1, 1, height=3.8)
    axes.plot(x, f(x), color=INK, linewidth=1.5)
    ends = np.array([0.4, 1.6])
    axes.plot(ends, f(1) + 3 * (ends - 1), ":", color=INK)
    axes.plot(ends, f(1 + h) + measured["central"] * (ends - 1 - h), color=BLUE)
    axes.plot(
        [0.85, 1.6],
        f(1) + measured["one-sided"] * (np.array([0.85, 1.6]) - 1),
        "--",
        color=VERMILION,
    )
    for place in (1 - h, 1, 1 + h):
        axes.plot(place, f(place), "o", color=INK)
    axes.set(xlabel="x", ylabel="f(x) = x\N{SUPERSCRIPT THREE}", ylim=(-1, 4.5))
    axes.set_xticks([1 - h, 1, 1 + h], ["1 \N{MINUS SIGN} h", "1", "1 + h"])
    axes.text(0.4, 2.3, f"central: slope {measured['central']:g}", color=BLUE, fontsize=12)
    axes.text(
        0.88, -0.05, f"one-sided: slope {measured['one-sided']:g}", color=VERMILION, fontsize=12
    )
    axes.text(1.75, 1.2, "tangent: slope 3", color=INK, fontsize=12, ha="right")
    return figure


def checking_gradients_v(quick):
    """Draw the error of a measured slope over the step: for x ** 3, and for a network's layer."""
    gradient_check = demo("gradient_check")
    steps = gradient_check.STEPS
    figure, (cube, layer) = panels(1, 2, height=3.8, sharey=True)

    above, below = (1 + steps) ** 3, (1 - steps) ** 3
    one_sided, central = abs((above - 1) / steps - 3), abs((above - below) / (2 * steps) - 3)
    cube.loglog(steps, one_sided, "--", color=VERMILION)
    cube.loglog(steps, central, color=BLUE)
    cube.text(2e-6, 1e-3, "one-sided", color=VERMILION, fontsize=12, ha="right")
    cube.text(3e-4, 1e-9, "central", color=BLUE, fontsize=12)
    cube.set(title="f(x) = x\N{SUPERSCRIPT THREE} at 1", xlabel="step h", ylabel="error")

    rng = np.random.default_rng(0)
    function = list(gradient_check.functions(rng).values())[1]  # the one that bends
    weight = rng.normal(size=(3, 3, 3, 2))
    directions = rng.normal(size=(2 if quick else 16, *weight.shape))
    for dtype, color, line in (("float64", BLUE, "-"), ("float32", VERMILION, "--")):
        error = gradient_check.errors(function, weight, directions, dtype)
        layer.loglog(steps, error, line, color=color)
    layer.text(1e-6, 5, "float32", color=VERMILION, fontsize=12)
    layer.text(1e-11, 1e-8, "float64", color=BLUE, fontsize=12)
    layer.set(title="convolution and cross-entropy", xlabel="step h", ylim=(1e-13, 1e3))
    return figure


FIGURES = {
    "checking_gradients_idea": checking_gradients_idea,
    "checking_gradients_v": checking_gradients_v,
}
