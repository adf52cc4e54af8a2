"""``tinyunet inspect``, ``gradcheck`` and ``info``: what there is, and whether it is right."""

import platform
import re

import numpy as np
import PIL
from threadpoolctl import threadpool_info

import tinyunet
from tinyunet.backend import use_device
from tinyunet.checkpoint import load_model
from tinyunet.cuda import cuda_problem, installed_cupy_packages
from tinyunet.distributed.replicas import available_cores
from tinyunet.errors import UserError
from tinyunet.nn.gradcheck_cases import run_cases
from tinyunet.nn.summary import summarize
from tinyunet.training.config import NETWORK, TrainingConfig
from tinyunet.training.setup import new_network


def run_inspect(options) -> None:
    """Print the layer table of a model, or of a network that is described."""
    use_device("cpu")
    described = {name: getattr(options, name) for name in NETWORK if hasattr(options, name)}
    if options.model and described:
        raise UserError(f"{options.model} already says what its network is: drop the options")
    if options.model:
        network = load_model(options.model).network
    else:
        config = TrainingConfig(images="", masks="", out="", **described)
        config.check()
        network = new_network(config, options.channels, options.classes)
    size = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", options.size)
    if not size:
        raise UserError(f"size {options.size!r}: give one number, or height and width as 256x384")
    height, width = int(size[1]), int(size[2] or size[1])
    print(summarize(network, height, width))


def run_gradcheck(options) -> int:
    """Print how far each operation's gradient is from a numerical one; status 1 if any is wrong."""
    use_device("cpu")
    print(f"{'operation':34}  {'largest relative error':>22}  {'seconds':>7}")
    print(f"{'-' * 34}  {'-' * 22}  {'-' * 7}")
    wrong = False
    for outcome in run_cases():
        error = "WRONG" if outcome.error is None else f"{outcome.error:.1e}"
        print(f"{outcome.name:34}  {error:>22}  {outcome.seconds:7.2f}", flush=True)
        for line in outcome.message.splitlines():
            print(f"    {line}")
        wrong |= outcome.error is None
    return int(wrong)


def run_info(options) -> None:
    """Print what tinyunet runs on."""
    facts = {
        "tinyunet": tinyunet.__version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "NumPy": np.__version__,
        "Pillow": PIL.__version__,
        "processor cores": available_cores(),
    }
    for pool in threadpool_info():
        name = f"{pool['internal_api']} {pool['version'] or ''}".strip()
        facts[f"{pool['user_api']} library"] = f"{name}, {pool['num_threads']} threads"
    facts["CuPy"] = ", ".join(installed_cupy_packages()) or "not installed"
    problem = cuda_problem()
    facts["CUDA"] = f"not available: {problem}" if problem else describe_gpu()
    for name, value in facts.items():
        print(f"{name:16} {value}")


def describe_gpu() -> str:
    """Name the GPU, and the versions of CuPy and of CUDA: the driver's and CuPy's own."""
    import cupy

    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(0)["name"].decode()
    # CUDA writes 13.2 as 13020.
    driver, own = (
        f"{number // 1000}.{number % 1000 // 10}"
        for number in (runtime.driverGetVersion(), runtime.runtimeGetVersion())
    )
    return f"{name}; CuPy {cupy.__version__} with CUDA {own}, driver for {driver}"
