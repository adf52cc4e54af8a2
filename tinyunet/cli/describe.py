"""``tinyunet inspect``, ``export``, ``gradcheck`` and ``info``: a network, and the computer."""

import platform
from typing import Annotated

import numpy as np
import PIL
from threadpoolctl import threadpool_info

import tinyunet
from tinyunet.backend import use_device
from tinyunet.checkpoint import load_model
from tinyunet.cuda import cuda_problem
from tinyunet.distributed.replicas import available_cores
from tinyunet.errors import UserError
from tinyunet.export.onnx_file import export_onnx
from tinyunet.hints import Range
from tinyunet.nn.gradcheck_cases import run_cases
from tinyunet.nn.summary import summarize
from tinyunet.training.config import TrainingConfig
from tinyunet.training.setup import new_network


def run_inspect(
    model: str | None = None,
    *,
    channels: Annotated[int, Range(1, 4096)] = 3,
    classes: Annotated[int, Range(1, 4096)] = 2,
    size: Annotated[int, Range(1, 10**9)] = 256,
    **described,
) -> None:
    """Show a network layer by layer.

    Parameters
    ----------
    model : str, optional
        A model file; without one, the network that the options describe.
    channels : int
        Number of channels of an image.
    classes : int
        Number of classes.
    size : int
        Height and width of the image in pixels.
    **described
        As in `TrainingConfig`.
    """
    use_device("cpu")
    if model and described:
        raise UserError(f"{model} already says what its network is: drop the options")
    if model:
        network = load_model(model).network
    else:
        config = TrainingConfig(images="", masks="", out="", **described)
        config.check()
        network = new_network(config, channels, classes)
    print(summarize(network, size, size))


def run_export(
    model: str,
    *,
    out: Annotated[str, "FILE"],
    tile: Annotated[int, Range(1, 10**6)] = 512,
    resolution: Annotated[float | None, "CM"] = None,
) -> None:
    """Write a model as an ONNX file, for QGIS.

    Parameters
    ----------
    model : str
        The model file, such as RUN/model.npz.
    out : str
        The file to write, such as model.onnx.
    tile : int
        Height and width of the images that the file takes, in pixels.
    resolution : float, optional
        Size of a pixel on the ground, in cm.
    """
    use_device("cpu")
    exported = load_model(model)
    export_onnx(exported, out, tile=tile, resolution=resolution)
    print(f"{out} is a valid ONNX file, for onnxruntime and for QGIS (Plugins > Deepness, model")
    print(f"type Segmentor, tile size {tile}).")
    if (threshold := exported.threshold or 0.5) < 0.5:
        print(f"Deepness asks for a probability above 0.5, predict for {threshold}: it finds more.")


def run_gradcheck() -> int:
    """Check the gradient of every operation on this computer.

    Returns
    -------
    int
        1 if any is wrong, else 0.
    """
    use_device("cpu")
    print(f"{'operation':34}  {'largest relative error':>22}  {'seconds':>7}")
    status = 0
    for name, found, seconds in run_cases():
        right = isinstance(found, float)
        error = f"{found:.1e}" if right else "WRONG"
        print(f"{name:34}  {error:>22}  {seconds:7.2f}", flush=True)
        if not right:
            status = 1
            print("    " + str(found).replace("\n", "\n    "))
    return status


def run_info() -> None:
    """Show what tinyunet runs on, and what is missing."""
    system = f"{platform.system()} {platform.machine()}, {available_cores()} processor cores"
    print(f"tinyunet {tinyunet.__version__}, Python {platform.python_version()} on {system}")
    print(f"NumPy {np.__version__}, Pillow {PIL.__version__}")
    for pool in threadpool_info():
        print(f"{pool['internal_api']} {pool['version'] or ''}: {pool['num_threads']} threads")
    print(f"CUDA: {cuda_problem() or 'works'}")
