"""How fast is tinyunet? Training and inference, beside PyTorch and the machine's own limit.

Each side (see `parts/benchmark_sides.py`) waits in a process of its own and does one step when it
is told, and the sides take turns, so that whatever else the computer does meets all alike. All have
the same number of threads. Between two turns there is a pause, in which threads that wait for work
actively go to sleep and leave the cores to the next side.

    python demos/benchmark.py                          # everything; takes a quarter of an hour
    python demos/benchmark.py --networks base16,paper --sides tinyunet,torch
    python demos/benchmark.py --scaling                # how time and memory grow
    python demos/benchmark.py --profile --networks base16   # where tinyunet's time goes

It prints tables in Markdown, and leaves them with a picture in the folder `--out`. PyTorch is
optional: ``pip install 'tinyunet[peer]'``.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from parts.benchmark_networks import Work, networks, scaling_series
from parts.benchmark_pictures import draw_comparison, draw_scaling
from parts.benchmark_profile import profile
from parts.benchmark_sides import SIDES

from tinyunet.distributed.replicas import available_cores

PEER = "torch"
WARM_UP_STEPS = 2


class Worker:
    """A side in its own process, which does one step when it is told.

    Parameters
    ----------
    side : str
        One of SIDES.
    threads : int
    """

    def __init__(self, side: str, threads: int):
        environment = dict(os.environ)
        # Settings that would tune one side's BLAS by hand.
        for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
            environment.pop(name, None)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = str(threads)
        # The sides find what this process finds: its demos, and a tinyunet that is not installed.
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        self.side = side
        self.process = subprocess.Popen(
            [sys.executable, "-m", "parts.benchmark_sides", side, f"{threads}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def tell(self, command: str, **details) -> dict:
        """Give a command and wait for the answer."""
        print(json.dumps({"do": command, **details}), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            status = self.process.wait()
            killed = " (killed, as a rule because the memory is full)" if status == -9 else ""
            raise SystemExit(f"the side {self.side} ended with status {status}{killed}")
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait()


def measure(work: Work, sides: list, threads: int, rounds: int, pause: float) -> dict:
    """Let all sides take turns at the same work: seconds of each round, and memory, for each side.

    Raises
    ------
    SystemExit
        If a side ends early, or the sides do not compute the same.
    """
    workers = [Worker(side, work.threads or threads) for side in sides]
    try:
        results = {}
        for worker in workers:
            version = worker.tell("prepare", **asdict(work))["version"]
            first = [worker.tell("step")["value"] for _ in range(WARM_UP_STEPS)][0]
            results[worker.side] = {"version": version, "value": first, "seconds": []}
        values = {side: result["value"] for side, result in results.items()}
        if max(values.values()) - min(values.values()) > 1e-3 * max(values.values()):
            raise SystemExit(f"{work.title}: the sides do not compute the same: {values}")
        for number in range(rounds):
            # Each round begins with another side.
            turn = number % len(workers)
            for worker in workers[turn:] + workers[:turn]:
                time.sleep(pause)
                results[worker.side]["seconds"].append(worker.tell("step")["seconds"])
        for worker in workers:
            results[worker.side].update(worker.tell("memory"))
        return results
    finally:
        for worker in workers:
            worker.__exit__()


def measure_limits(sides: list, threads: int, quick: bool) -> dict:
    """Measure the speed of matrix products and of memory, from tinyunet's side and the peer's."""
    limits = {}
    for side in ("tinyunet", PEER):
        if side == "tinyunet" or side in sides:
            with Worker(side, threads) as worker:
                limits[side] = worker.tell("limits", quick=quick)
    return limits


# -- Tables ----------------------------------------------------------------------------------------


def comparison_table(works: list, measured: dict) -> str:
    """Draw the times of all sides and networks, in Markdown."""
    peer = any(PEER in results for results in measured.values())
    header = ["side", "time, ms", "min to max"]
    if peer:
        header += ["of PyTorch's time", "round by round"]
    header += ["GFLOP/s", "memory added, MB", "in all, MB"]
    lines = ["| network | " + " | ".join(header) + " |"]
    lines.append("|:--|:--" + "|--:" * (len(header) - 1) + "|")
    for work in works:
        results = measured[work.name]
        for side, result in results.items():
            seconds = result["seconds"]
            median = statistics.median(seconds)
            cells = [work.title, side, f"{1e3 * median:.1f}"]
            cells.append(f"{1e3 * min(seconds):.1f} to {1e3 * max(seconds):.1f}")
            if peer:
                cells += [f"{ratio:.2f}" for ratio in ratios(seconds, results[PEER]["seconds"])]
            cells.append(f"{work.operations() / median / 1e9:.0f}")
            cells += [f"{result[memory] / 1e6:.0f}" for memory in ("added", "peak")]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratios(seconds: list, peers: list) -> tuple[float, float]:
    """Compare with the peer: the ratio of the medians, and the median of each round's ratio."""
    each = [own / other for own, other in zip(seconds, peers, strict=True)]
    return statistics.median(seconds) / statistics.median(peers), statistics.median(each)


def scaling_table(series: dict, measured: dict) -> str:
    """Draw how time and memory grow, in Markdown."""
    sides = list(next(iter(measured.values())))
    header = [f"{side}, {unit}" for unit in ("ms", "MB added") for side in sides]
    lines = ["| property | value | " + " | ".join(header) + " |"]
    lines.append("|:--|--:" + "|--:" * len(header) + "|")
    for name, several in series.items():
        for value, work in several:
            results = measured[work].values()
            cells = [f"{1e3 * statistics.median(result['seconds']):.1f}" for result in results]
            cells += [f"{result['added'] / 1e6:.0f}" for result in results]
            lines.append(f"| {name} | {value} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def circumstances(options, versions: list) -> str:
    """Say what was measured where: the command, the versions, the processor."""
    lines = [
        f"Command: `{' '.join(['python demos/benchmark.py', *sys.argv[1:]])}`",
        f"Versions: {'; '.join(dict.fromkeys(versions))}; Python {platform.python_version()}",
        f"Processor: {processor_name()}, {available_cores()} cores; {options.threads} threads each",
        f"Rounds: {options.rounds}; the time is their median. Memory is the peak of a process: "
        "what the work added to it after its imports and a tiny first step, and in all",
    ]
    return "\n".join(f"- {line}" for line in lines)


def processor_name() -> str:
    """Tell the processor's name, as far as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def limits_text(limits: dict) -> str:
    """Say what the machine can do at most."""
    return "\n".join(
        f"- Limit, by {side}'s own libraries: matrix product {found['flops'] / 1e9:.0f} GFLOP/s, "
        f"copy in memory {found['bandwidth'] / 1e9:.1f} GB/s (read and written)"
        for side, found in limits.items()
    )


# -- What can be typed -----------------------------------------------------------------------------


def main(arguments: list | None = None) -> None:
    """Read the command line and measure."""
    options = parse(arguments)
    works = networks(options.quick)
    chosen = [works[name] for name in options.networks]
    if options.profile:
        for work in chosen:
            if work.training:
                print(profile(work, options.profile_threads, options.rounds), end="\n\n")
        return
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    limits = measure_limits(options.sides, options.threads, options.quick)
    pause = 0.0 if options.quick else 0.3
    raw = {"limits": limits, "threads": options.threads, "processor": processor_name()}
    if options.scaling:
        series, measured = scaling_series(options.quick), {}
        for work in dict.fromkeys(work for several in series.values() for _, work in several):
            print(
                f"measuring batch {work.batch}, size {work.size}, base {work.base}, "
                f"depth {work.depth}, threads {work.threads or options.threads}",
                file=sys.stderr,
            )
            measured[work] = measure(work, options.sides, options.threads, options.rounds, pause)
        table, picture = scaling_table(series, measured), out / "scaling.png"
        raw["scaling"] = {
            name: [{"value": value, "sides": measured[work]} for value, work in several]
            for name, several in series.items()
        }
        if options.draw:
            draw_scaling(raw["scaling"], picture)
    else:
        measured = {}
        for work in chosen:
            print(f"measuring {work.title}", file=sys.stderr)
            measured[work.name] = measure(
                work, options.sides, options.threads, options.rounds, pause
            )
        table, picture = comparison_table(chosen, measured), out / "benchmark.png"
        if options.draw:
            draw_comparison(chosen, measured, limits, picture, PEER)
        raw["networks"] = [asdict(work) | {"sides": measured[work.name]} for work in chosen]
    versions = [side["version"] for results in measured.values() for side in results.values()]
    text = "\n\n".join([table, circumstances(options, versions) + "\n" + limits_text(limits)])
    print(text)
    picture.with_suffix(".md").write_text(text + "\n")
    if options.json:
        Path(options.json).write_text(json.dumps(raw, indent=2) + "\n")
    if options.draw:
        print(f"\nThe picture is {picture}.", file=sys.stderr)


def parse(arguments: list | None) -> argparse.Namespace:
    """Read the command line; sides that are not installed are left out, with a word about it."""
    names = list(networks())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--networks", type=listed(names), default=names, help=f"some of {','.join(names)} (all)")
    add("--sides", type=listed(SIDES), default=list(SIDES), help=f"some of {','.join(SIDES)} (all)")
    add("--rounds", type=int, metavar="N", help="measured steps of each side (7; quick: 2)")
    add("--threads", type=int, metavar="N", help="threads of each side (all cores; profile: 1)")
    add("--scaling", action="store_true", help="measure how time and memory grow instead")
    add("--profile", action="store_true", help="show where the time of tinyunet goes instead")
    add("--quick", action="store_true", help="tiny networks, to try this program out")
    add("--out", default="runs/benchmark", metavar="DIR", help="folder for picture and table")
    add("--json", metavar="FILE", help="also write every measured number")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.profile_threads = options.threads or 1
    options.threads = options.threads or available_cores()
    missing = [side for side in options.sides if side.startswith("torch")]
    if missing and importlib.util.find_spec("torch") is None:
        print(
            f"PyTorch is not installed, so {' and '.join(missing)} and the comparison with it are "
            "missing; pip install 'tinyunet[peer]' brings it",
            file=sys.stderr,
        )
        options.sides = [side for side in options.sides if side not in missing]
    options.draw = importlib.util.find_spec("matplotlib") is not None
    if not options.draw:
        print(
            "matplotlib is not installed, so there will be no picture; pip install "
            "'tinyunet[demos]' brings it",
            file=sys.stderr,
        )
    if not options.sides:
        parser.error("no side is left to measure")
    return options


def listed(allowed):
    """Make a reader of ``a,b,c`` for the command line; each must be one of `allowed`."""

    def read(text):
        chosen = text.split(",")
        for name in chosen:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(allowed)}")
        return chosen

    return read


if __name__ == "__main__":
    main()
