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

        probe = cupy.full((8, 8), 0.5, dtype=cupy.float32)
        total = float(cupy.tanh(probe @ probe).sum())
    except Exception as error:  # no driver, one too old, no device, a library that is missing
        line = str(error).strip().partition("\n")[0]  # CuPy's messages run over a page
        return (
            f"CuPy cannot compute on a GPU: {type(error).__name__}: {line}; nvidia-smi shows the "
            "driver and its CUDA; pip install 'cupy-cuda13x[ctk]' brings parts that are missing"
        )
    if not abs(total - 64 * np.tanh(2.0)) < 1e-3:
        return f"the GPU computes wrong numbers: a small test gave {total}"
    return None


def installed_cupy_packages() -> list[str]:
    """List the installed packages that provide CuPy: more than one is a broken installation."""
    names = {found.metadata["Name"] or "" for found in importlib.metadata.distributions()}
    return sorted(name for name in map(str.lower, names) if re.match("cupy$|cupy-cuda", name))
