"""Can CUDA be used here? One line says why not, and what to do about it."""

import importlib.metadata
import re

import numpy as np


def cuda_problem() -> str | None:
    """Say in one line why CUDA cannot be used and what to do about it; None if all is well.

    The last step multiplies two small matrices and applies a function of its own making, because a
    GPU that is merely listed may still lack the libraries or the compiler that CuPy needs.
    """
    install = "pip install 'tinyunet[cuda13]' for CUDA 13, 'tinyunet[cuda12]' for CUDA 12"
    packages = installed_cupy_packages()
    if not packages:
        return f"CuPy is not installed; {install}"
    if len(packages) > 1:
        several = f"several CuPy packages get in each other's way ({', '.join(packages)})"
        return f"{several}; pip uninstall all of them, then {install}"
    try:
        import cupy
    except Exception as error:  # a missing CUDA library can surface as any kind of exception here
        return f"CuPy cannot be imported: {first_line(error)}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CUDARuntimeError: no driver, a driver too old, no device
        return f"CuPy finds no GPU: {first_line(error)}; nvidia-smi shows the driver and its CUDA"
    if count == 0:
        return "the driver answers but lists no GPU; does CUDA_VISIBLE_DEVICES hide it?"
    try:
        probe = cupy.full((8, 8), 0.5, dtype=cupy.float32)
        total = float(cupy.tanh(probe @ probe).sum())
        if not abs(total - 64 * np.tanh(2.0)) < 1e-3:
            return f"the GPU computes wrong numbers: a small test gave {total}"
    except Exception as error:  # cuBLAS or the run-time compiler is missing or does not fit
        return (
            f"the GPU is found but CuPy cannot compute on it: {first_line(error)}; "
            "parts of the CUDA toolkit may be missing: pip install 'cupy-cuda13x[ctk]' brings them"
        )
    return None


def installed_cupy_packages() -> list[str]:
    """List the installed packages that provide CuPy: more than one is a broken installation."""
    names = {found.metadata["Name"] or "" for found in importlib.metadata.distributions()}
    return sorted(name for name in map(str.lower, names) if re.match("cupy$|cupy-cuda", name))


def first_line(error: Exception) -> str:
    """Shorten an exception to its kind and first line: CuPy's messages run over a page."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
