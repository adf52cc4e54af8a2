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


def draw_scaling(series: dict, measured: dict, path: Path) -> None:
    """Draw time and memory over each property of the work; both axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(3.4 * len(series), 6), layout="constrained", dpi=120)
    axes = figure.subplots(2, len(series), sharey="row", squeeze=False)
    labels = {
        "size": "height and width, pixels",
        "batch": "images in a batch",
        "base": "base channels",
        "depth": "depth, halvings",
        "threads": "threads, at a batch of 8",
    }
    for column, (name, several) in enumerate(series.items()):
        values = [value for value, _ in several]
        for side in measured[several[0][1]]:
            results = [measured[work][side] for _, work in several]
            milliseconds = [1e3 * statistics.median(result["seconds"]) for result in results]
            megabytes = [result["added"] / 1e6 for result in results]
            for row, numbers in enumerate((milliseconds, megabytes)):
                style = f"{SIGNS[side]}-"
                axes[row][column].plot(
                    values, numbers, style, color=COLORS[side], label=NAMES.get(side, side)
                )
        for row in (0, 1):
            axes[row][column].set_xscale("log", base=2)
            axes[row][column].set_yscale("log")
            axes[row][column].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes[row][column].yaxis.set_major_formatter("{x:g}")
            axes[row][column].yaxis.set_minor_formatter(NullFormatter())
            axes[row][column].set_xticks(values, [str(value) for value in values])
            axes[row][column].grid(which="both", alpha=0.25)
        axes[1][column].set_xlabel(labels[name])
    axes[0][0].set_ylabel("time of a training step, ms")
    axes[1][0].set_ylabel("memory added, MB")
    axes[0][0].legend()
    figure.savefig(path)
