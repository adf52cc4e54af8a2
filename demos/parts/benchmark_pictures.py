"""The pictures of the benchmark: bars of time, the roofline, and curves of growth."""

import statistics
from pathlib import Path

# Okabe and Ito's colors, which people with any color vision can tell apart; and a sign for each.
COLORS = {
    "tinyunet": "#0072B2",
    "plain": "#999999",
    "torch": "#E69F00",
    "torch-channels-last": "#009E73",
}
NAMES = {"torch": "PyTorch", "torch-channels-last": "PyTorch, channels last"}
TIME, MEMORY = "time of a step, ms", "memory added, MB"
PROPERTIES = {
    "size": "pixels a side",
    "batch": "images",
    "base": "base channels",
    "depth": "depth",
    "threads": "threads",
}
SIGNS = {"tinyunet": "o", "plain": "v", "torch": "s", "torch-channels-last": "D"}


def draw_comparison(works: list, measured: dict, limits: dict, path: Path, peer: str) -> None:
    """Draw the times as bars, and the achieved speeds below the machine's limits."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 1.5 + max(4, 1.1 * len(works))), layout="constrained", dpi=120)
    bars, roofline = figure.subplots(1, 2)
    draw_bars(bars, works, measured, peer)
    draw_roofline(roofline, works, measured, limits["tinyunet"])
    figure.savefig(path)


def draw_bars(axes, works: list, measured: dict, peer: str) -> None:
    """Draw the median times relative to the peer's, with a line from the shortest to the longest.

    Without the peer, relative to the first side.
    """
    sides = list(measured[works[0].name])
    reference = peer if peer in sides else sides[0]
    thickness = 0.8 / len(sides)
    for row, work in enumerate(works):
        results = measured[work.name]
        unit = statistics.median(results[reference]["seconds"])
        for place, side in enumerate(sides):
            seconds = [value / unit for value in results[side]["seconds"]]
            median, y = statistics.median(seconds), row + (place + 0.5) * thickness - 0.4
            axes.barh(
                y,
                median,
                0.9 * thickness,
                color=COLORS[side],
                label=NAMES.get(side, side) if row == 0 else None,
                xerr=[[median - min(seconds)], [max(seconds) - median]],
                error_kw={"capsize": 2, "linewidth": 1},
            )
            axes.text(max(seconds), y, f"  {median:.2f}", va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8, linestyle="--")
    axes.margins(x=0.1)
    axes.set_yticks(range(len(works)), [work.title.replace(", ", ",\n") for work in works])
    axes.invert_yaxis()
    axes.set_xlabel(
        f"time of a step, relative to {NAMES.get(reference, reference)} (shorter is faster)"
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=len(sides), frameon=False)


def draw_roofline(axes, works: list, measured: dict, limits: dict) -> None:
    """Draw each network's speed over its arithmetic intensity.

    Intensity is how many operations there are for each byte that must be moved. Left of the ridge
    the memory sets the limit, right of it the matrix product.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    intensities = {work.name: work.operations() / work.bytes_moved() for work in works}
    ridge = limits["flops"] / limits["bandwidth"]
    ends = [min(0.5 * ridge, *intensities.values()) / 2, 2 * max(2 * ridge, *intensities.values())]
    roof = [min(limits["flops"], limits["bandwidth"] * x) / 1e9 for x in (ends[0], ridge, ends[1])]
    axes.plot([ends[0], ridge, ends[1]], roof, color="black")
    axes.annotate(
        f"matrix product: {limits['flops'] / 1e9:.0f} GFLOP/s",
        (ends[1], roof[-1]),
        (0, 5),
        textcoords="offset points",
        ha="right",
    )
    axes.annotate(
        f"memory: {limits['bandwidth'] / 1e9:.0f} GB/s",
        (ends[0], roof[0]),
        (18, 0),
        textcoords="offset points",
    )
    named = set()
    for work in works:
        x = intensities[work.name]
        speeds = {}
        for side, result in measured[work.name].items():
            speeds[side] = work.operations() / statistics.median(result["seconds"]) / 1e9
            label = None if side in named else NAMES.get(side, side)
            named.add(side)
            axes.plot(x, speeds[side], SIGNS[side], color=COLORS[side], label=label)
        # Upright, and beside each other where two networks are near.
        near = [other / x for other in intensities.values() if 0.8 < other / x < 1.25]
        side = "right" if max(near) > 1 else "left" if min(near) < 1 else "center"
        axes.annotate(
            work.name,
            (x, min(speeds.values())),
            (0, -8),
            textcoords="offset points",
            rotation=90,
            ha=side,
            va="top",
            fontsize=9,
        )
    for axis, set_scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        set_scale("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("arithmetic intensity, operations per byte")
    axes.set_ylabel("achieved speed, GFLOP/s")
    axes.margins(y=0.2)
    axes.grid(which="both", alpha=0.25)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=len(named), frameon=False)


def draw_scaling(scaling: dict, path: Path) -> None:
    """Draw time and memory over each property of the work; both axes logarithmic.

    Parameters
    ----------
    scaling : dict
        For each property, what was measured at each value, as the benchmark's JSON has it.
    path : path
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(scaling), 6), layout="constrained", dpi=120)
    axes = figure.subplots(2, len(scaling), sharey="row", squeeze=False)
    styles = {side: (NAMES.get(side, side), color, SIGNS[side]) for side, color in COLORS.items()}
    draw_growth(axes.T, scaling, styles)
    axes[0][0].set_ylabel(TIME)
    axes[1][0].set_ylabel(MEMORY)
    axes[0][0].legend()
    figure.savefig(path)


def draw_growth(axes, scaling: dict, styles: dict) -> None:
    """Draw into pairs of panels, one for each property: time in the first, memory in the second.

    `styles` has the name, color, and sign of each side.
    """
    for (time, memory), (name, several) in zip(axes, scaling.items(), strict=True):
        values = [each["value"] for each in several]
        for side in several[0]["sides"]:
            label, color, sign = styles[side]
            found = [each["sides"][side] for each in several]
            milliseconds = [1e3 * statistics.median(result["seconds"]) for result in found]
            megabytes = [result["added"] / 1e6 for result in found]
            style = {"color": color, "marker": sign, "markersize": 5, "label": label}
            time.plot(values, milliseconds, **style)
            memory.plot(values, megabytes, **style)
        for axis in (time, memory):
            axis.set(xscale="log", yscale="log", xlabel=PROPERTIES[name])
            axis.set_xticks(values, values)
            axis.yaxis.set_major_formatter("{x:g}")
            axis.minorticks_off()
