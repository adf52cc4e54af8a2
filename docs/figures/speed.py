"""Figures of the page on how fast it is, drawn from what the benchmark has measured.

The numbers in the JSON files beside this one come from::

    python demos/benchmark.py --networks norm16,norm32,norm64,norm-inference --rounds 11 \
        --sides tinyunet,torch,torch-channels-last --json docs/figures/benchmark_norm.json
    python demos/benchmark.py --networks base16,base32,base64 --rounds 11 \
        --json docs/figures/benchmark_training.json
    python demos/benchmark.py --networks paper,inference --rounds 7 \
        --sides tinyunet,torch,torch-channels-last --json docs/figures/benchmark_large.json
    python demos/benchmark.py --scaling --rounds 7 \
        --sides tinyunet,torch,torch-channels-last --json docs/figures/benchmark_growth.json
"""

import json
from pathlib import Path
from statistics import median

from figure_style import BLUE, GREEN, INK, ORANGE, VERMILION, demo, is_narrow, measured, panels

FOLDER = Path(__file__).parent
MEASURED = {
    part: json.loads((FOLDER / f"benchmark_{part}.json").read_text(encoding="utf-8"))
    for part in ("norm", "training", "large", "growth")
}
NETWORKS = [work for part in ("norm", "training", "large") for work in MEASURED[part]["networks"]]
SIDES = {
    "tinyunet": ("tinyunet", BLUE, "o"),
    "torch": ("PyTorch", VERMILION, "s"),
    "torch-channels-last": ("PyTorch, channels last", GREEN, "D"),
    "plain": ("tinyunet in plain form", ORANGE, "v"),
}


def speed_ratios(quick):
    """Draw each side's time as a multiple of PyTorch's: median, shortest and longest step."""
    figure, (axes,) = panels(height=7.5)
    said, named = {}, set()
    for row, work in enumerate(NETWORKS):
        unit = median(work["sides"]["torch"]["seconds"])
        for place, side in enumerate(("tinyunet", "torch-channels-last", "plain")):
            if side not in work["sides"]:
                continue
            label, color, _ = SIDES[side]
            ratios = [seconds / unit for seconds in work["sides"][side]["seconds"]]
            middle, y = median(ratios), row + 0.26 * (place - 1)
            reach = [[middle - min(ratios)], [max(ratios) - middle]]
            style = {"xerr": reach, "error_kw": {"ecolor": INK, "capsize": 2, "linewidth": 1}}
            axes.barh(y, middle, 0.22, color=color, label=None if side in named else label, **style)
            named.add(side)
            axes.text(max(ratios) + 0.03, y, f"{middle:.2f}", va="center", fontsize=10)
            bold = "**" if side == "tinyunet" else ""
            said[f"{work['name']}, {label}, ratio"] = f"| {bold}{middle:.2f}{bold} |"
        for side in ("tinyunet", "torch"):
            found = work["sides"][side]
            said[f"{work['name']}, {side}, time"] = duration(median(found["seconds"]))
            if work["training"]:
                memory = f"{found['peak'] / 1e6:.0f} ({found['added'] / 1e6:.0f})"
                said[f"{work['name']}, {side}, memory"] = memory
    axes.axvline(1, color=INK, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(NETWORKS)), [title(work) for work in NETWORKS])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    end = "\n" if is_narrow() else " "
    axes.set(
        xlim=(0, 3.6 if is_narrow() else None),
        xlabel=f"time of a step;{end}PyTorch's is 1 (dashed):{end}shorter is faster",
    )
    figure.legend(loc="outside upper center", ncols=1 if is_narrow() else 3)
    return measured(figure, said)


def speed_roofline(quick):
    """Draw the speed achieved over the operations for each byte, below the machine's limits."""
    limits = MEASURED["training"]["limits"]["tinyunet"]
    flops, bandwidth = limits["flops"] / 1e9, limits["bandwidth"] / 1e9
    figure, (axes,) = panels(height=4.2 if is_narrow() else 3.8)
    ends = [0.4 * flops / bandwidth, 400]
    axes.plot([ends[0], flops / bandwidth, ends[1]], [bandwidth * ends[0], flops, flops], color=INK)
    axes.text(
        ends[1], 1.05 * flops, f"matrix product: {flops:.0f} GFLOP/s", ha="right", va="bottom"
    )
    axes.text(1.1 * ends[0], bandwidth * ends[0], f"memory: {bandwidth:.0f} GB/s", va="top")
    works = demo("parts/benchmark_networks").networks()
    shown = [*MEASURED["norm"]["networks"], *MEASURED["large"]["networks"]]
    for number, found in enumerate(shown):
        work = works[found["name"]]
        intensity = work.operations() / work.bytes_moved()
        speeds = {
            side: work.operations() / median(times["seconds"]) / 1e9
            for side, times in found["sides"].items()
        }
        for side, speed in speeds.items():
            label, color, sign = SIDES[side]
            label = None if number else label
            axes.plot(intensity, speed, sign, color=color, label=label)
        place = {"ha": "center", "va": "top", "fontsize": 10}
        lower = 0.82 if found["name"] == "paper" else 0.92  # beside norm64's
        axes.text(intensity, lower * min(speeds.values()), found["name"], **place)
    axes.set(xscale="log", yscale="log", ylim=(45, 300))
    ticks = [5, 20, 100, 400] if is_narrow() else [5, 10, 20, 50, 100, 200, 400]
    axes.set_xticks(ticks, ticks)
    axes.set_yticks([50, 100, 200], [50, 100, 200])
    axes.minorticks_off()
    axes.set(xlabel="operations for each byte that is moved", ylabel="GFLOP/s")
    if is_narrow():
        figure.legend(loc="outside upper center", ncols=2)
    else:
        axes.legend(loc="lower right")
    limits = {"product": f"{flops:.0f} GFLOP/s", "memory": f"{bandwidth:.0f} GB/s"}
    return measured(figure, limits)


def speed_growth(quick):
    """Draw how time and memory grow with each property of the work, for all sides."""
    pictures = demo("parts/benchmark_pictures")
    if is_narrow():
        figure, axes = panels(5, 2, height=11)
    else:
        figure, axes = panels(2, 5, height=5.4, sharey="row")
        axes = axes.T
    pictures.draw_growth(axes, MEASURED["growth"]["scaling"], SIDES)
    for time, memory in axes if is_narrow() else axes[:1]:
        time.set_ylabel(pictures.TIME)
        memory.set_ylabel(pictures.MEMORY)
    handles = axes[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2 if is_narrow() else 3)
    return figure


def duration(seconds):
    """Write a time as people do."""
    return f"{1000 * seconds:.0f} ms" if seconds < 1.2 else f"{seconds:.2f} s"


def title(work):
    """Name what was measured, in two lines."""
    if work["name"] == "paper":
        return "training,\nthe paper's network"
    way = "training" if work["training"] else "inference"
    norm = ", batch norm" if work["norm"] else ""
    return f"{way}{norm}, base {work['base']},\n{work['batch']} x {work['size']} x {work['size']}"


FIGURES = {
    "speed_ratios": speed_ratios,
    "speed_growth": speed_growth,
    "speed_roofline": speed_roofline,
}
