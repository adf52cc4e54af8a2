"""Ten minutes on a GPU, and everything is known: what runs, what it gives, how fast, on which card.

Whoever has a GPU for a moment runs this and keeps two files: a page of Markdown that can go into
the book as it is, and the same as JSON. Five questions, in this order:

1. What is it? The card, its driver, CUDA, CuPy.
2. Does everything run there? ``pytest -m gpu``.
3. Is it right? Every operation and every gradient, beside NumPy's.
4. How fast is it? A training step and inference with batch normalization, as `tinyunet train` has
   it, beside PyTorch on the same card where PyTorch is installed.
5. What does it take? Memory; and kernel launches, where somebody counts them.

    python demos/gpu_report.py --out gpu_report.md

On an emulated device it runs to its end as well; it then says that its timings mean nothing.
"""

import json
import platform
import re
import statistics
import subprocess
import sys
import time

import numpy as np
from parts.command_line import demo_parser, prepare

import tinyunet
from tinyunet.atomic_io import written_aside
from tinyunet.backend import device_name, to_device, to_host, use_device
from tinyunet.distributed.replicas import Replicas
from tinyunet.nn.gradcheck_cases import cases
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.unet import UNet

TOLERANCE = 1e-9  # of the largest value: sums in another order, in float64
CLASSES, CHANNELS, BATCH = 3, 3, 8


def main(arguments=None) -> None:
    """Answer the five questions; write the page and the JSON."""
    parser = demo_parser(__doc__, "gpu_report.md", kind="page of Markdown")
    parser.set_defaults(device="cuda")
    parser.add_argument("--no-tests", action="store_true", help="leave out pytest -m gpu")
    parser.add_argument("--bases", type=int, nargs="+", default=[16, 32, 64], metavar="N")
    parser.add_argument("--depth", type=int, default=4, help="times the image is halved (4)")
    parser.add_argument("--crop-size", type=int, default=128, help="side of a training image (128)")
    parser.add_argument("--image-size", type=int, default=1024, help="side at inference (1024)")
    parser.add_argument("--rounds", type=int, default=11, help="how often each is timed (11)")
    options = prepare(parser, parser.parse_args(arguments))
    if device_name() != "cuda":
        parser.error("this report is about a GPU: leave --device out, or give --device cuda")
    report = {"device": describe_device()}
    report["tests"] = None if options.no_tests else run_tests()
    report["operations"] = compare_operations()
    report["speed"] = [
        measure(training, base, options) for base in options.bases for training in (True, False)
    ]
    with written_aside(options.out) as file:
        file.write(page(report).encode())
    with written_aside(options.out.with_suffix(".json")) as file:
        file.write(json.dumps(report, indent=2).encode())
    print(page(report))
    worst = max(row["difference"] for row in report["operations"])
    print(
        f"You should have seen {report['device']['name']} give NumPy's results to {worst:.0e}; the "
        f"page is {options.out}."
    )


# -- 1. What is it? --------------------------------------------------------------------------------


def describe_device() -> dict:
    """Name the card and the versions of all that stands between it and us."""
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(runtime.getDevice())
    name = properties["name"].decode()
    return {
        "name": name,
        "emulated": "EMULATED" in name,
        "memory_bytes": int(properties["totalGlobalMem"]),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "cuda_driver": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "tinyunet": tinyunet.__version__,
        "system": platform.platform(),
    }


# -- 2. Does everything run there? -----------------------------------------------------------------


def run_tests() -> dict:
    """Run the tests that need a device, in a process of their own; gives pytest's counts."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = (done.stdout.strip().splitlines() or ["pytest said nothing"])[-1]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", last)}
    return {
        "status": done.returncode,
        "passed": counts.get("passed", 0),
        "failed": counts.get("failed", 0) + counts.get("errors", 0),
        "summary": last.strip("= "),
    }


# -- 3. Is it right? -------------------------------------------------------------------------------


def compare_operations() -> list[dict]:
    """Compute every operation and its gradients on both devices, in float64, from the same seed."""
    results = {}
    for device in ("cpu", "cuda"):
        use_device(device)
        results[device] = {name: compute(*case) for name, case in cases().items()}
    rows = []
    for name, expected in results["cpu"].items():
        # A gradient that is 0 but for rounding (of a bias before a normalization) has no size of
        # its own: it is judged on the scale of the others.
        smallest_scale = 1e-3 * max(abs(array).max() for array in expected)
        differences = [
            abs(ours - theirs).max() / max(abs(theirs).max(), smallest_scale)
            for ours, theirs in zip(results["cuda"][name], expected, strict=True)
        ]
        worst = float(max(differences))
        rows.append({"name": name, "difference": worst, "right": worst <= TOLERANCE})
    return rows


def compute(function, *arguments) -> list[np.ndarray]:
    """Run an operation forward and backward; gives the result and all gradients, on the host."""
    y, backward = function(*arguments)
    dy = to_device(np.random.default_rng(1).standard_normal(y.shape))
    gradients = backward(dy)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    return [to_host(array) for array in (y, *gradients)]


# -- 4. and 5. How fast is it, and what does it take? ----------------------------------------------


def measure(training: bool, base: int, options) -> dict:
    """Time a training step or a forward pass, ours and PyTorch's, from the same start."""
    size, count = (options.crop_size, BATCH) if training else (options.image_size, 1)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((count, size, size, CHANNELS), dtype="float32")
    labels = rng.integers(0, CLASSES, (count, size, size))
    network = UNet(CHANNELS, CLASSES, base_channels=base, depth=options.depth, norm="batch")
    row = {
        "work": "training step" if training else "inference",
        "base_channels": base,
        "batch": count,
        "size": size,
        **time_tinyunet(network, images, labels if training else None, options.rounds),
    }
    row["torch"] = [
        time_torch(network, images, labels if training else None, options.rounds, channels_last)
        for channels_last in ((False, True) if torch_answers() else ())
    ]
    return row


def time_tinyunet(network, images, labels, rounds: int) -> dict:
    """Time our side; the device is waited for after each step."""
    import cupy

    replicas = Replicas(network, 1)
    if labels is None:

        def step():
            return to_host(replicas.logits(images))
    else:
        loss, optimizer = CrossEntropy(), operations.Adam(network.parameters(), lr=1e-3)

        def step():
            optimizer.zero_grad()
            replicas.loss_and_gradients(images, labels, loss)
            replicas.step(optimizer)

    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    seconds = timed(step, cupy.cuda.Device().synchronize, rounds)
    return {
        "seconds": seconds,
        "memory_bytes": pool.total_bytes(),
        "launches": count_launches(step),
    }


def count_launches(step) -> int | None:
    """Count the kernels that a step launches: only the emulated device can tell."""
    try:
        import cupy_on_cpu
    except ImportError:
        return None
    with cupy_on_cpu.measure() as used:
        step()
    return used["launches"]


def torch_answers() -> bool:
    """Tell whether PyTorch is here and sees the device, too."""
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def time_torch(network, images, labels, rounds: int, channels_last: bool) -> dict:
    """Time PyTorch's side, with the twin of the same network on the same card."""
    import torch
    from to_pytorch import to_pytorch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    twin = to_pytorch(network).cuda().to(memory_format=layout).train(labels is not None)
    host = torch.from_numpy(images).permute(0, 3, 1, 2)
    torch.cuda.reset_peak_memory_stats()
    if labels is None:

        def step():
            with torch.no_grad():
                return twin(host.cuda().contiguous(memory_format=layout)).cpu()
    else:
        loss = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3, fused=True)
        truth = torch.from_numpy(labels)

        def step():
            optimizer.zero_grad()
            x = host.cuda().contiguous(memory_format=layout)
            loss(twin(x), truth.cuda()).backward()
            optimizer.step()

    return {
        "version": torch.__version__,
        "format": "channels last" if channels_last else "default",
        "seconds": timed(step, torch.cuda.synchronize, rounds),
        "memory_bytes": torch.cuda.max_memory_reserved(),
    }


def timed(step, synchronize, rounds: int) -> float:
    """Give the median time of a step in seconds, after three that warm up."""
    for _ in range(min(3, rounds)):
        step()
    synchronize()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


# -- The page --------------------------------------------------------------------------------------


def page(report: dict) -> str:
    """Write the report as Markdown."""
    device = report["device"]
    lines = [f"# On a GPU: {device['name']}", ""]
    if device["emulated"]:
        lines += ["**This device is emulated on a CPU: the timings below mean nothing.**", ""]
    lines += [
        f"tinyunet {device['tinyunet']}, CuPy {device['cupy']}, NumPy {device['numpy']}, Python "
        f"{device['python']}, CUDA {version(device['cuda_runtime'])} with a driver for "
        f"{version(device['cuda_driver'])}, compute capability {device['compute_capability']}, "
        f"{device['memory_bytes'] / 1e9:.0f} GB, {device['system']}. Written by "
        "`python demos/gpu_report.py`.",
        "",
    ]
    if report["tests"]:
        lines += [f"`pytest -m gpu`: {report['tests']['summary']}.", ""]
    lines += [
        "## Every operation beside NumPy",
        "",
        "The largest difference of a result or gradient, over its largest value, in float64:",
        "",
        "| operation | difference | |",
        "|---|---|---|",
    ]
    for row in report["operations"]:
        verdict = "equal" if row["right"] else "**wrong**"
        lines.append(f"| {row['name']} | {row['difference']:.1e} | {verdict} |")
    lines += [
        "",
        "## Speed and memory",
        "",
        "With batch normalization, images copied to the device in each step; medians. PyTorch with "
        "fused Adam, in its default format and in channels last; the ratio is ours over theirs.",
        "",
        "| work | ours | PyTorch | ratio | memory | PyTorch's | launches |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [speed_line(row) for row in report["speed"]]
    return "\n".join(lines) + "\n"


def speed_line(row: dict) -> str:
    """Write one row of the table of speed."""
    what = f"{row['work']}, base {row['base_channels']}, {row['batch']} x {row['size']}²"
    theirs = row["torch"]
    return (
        "| "
        + " | ".join(
            (
                what,
                f"{1e3 * row['seconds']:.1f} ms",
                " / ".join(f"{1e3 * side['seconds']:.1f} ms" for side in theirs) or "not installed",
                " / ".join(f"{row['seconds'] / side['seconds']:.2f}" for side in theirs) or "-",
                f"{row['memory_bytes'] / 1e6:.0f} MB",
                " / ".join(f"{side['memory_bytes'] / 1e6:.0f} MB" for side in theirs) or "-",
                "not counted" if row["launches"] is None else f"{row['launches']:,}",
            )
        )
        + " |"
    )


def version(number: int) -> str:
    """Write CUDA's 13020 as 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


if __name__ == "__main__":
    main()
