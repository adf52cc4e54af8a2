"""Can CUDA be used here? One line says why not, and what to do about it."""

import numpy as np


def cuda_problem() -> str | None:
    """Say in one line why CUDA cannot be used and what to do about it; None if all is well.

    The last step multiplies two small matrices and applies a function of its own making, because a
    GPU that is merely listed may still lack the libraries or the compiler that CuPy needs.
    """
    try:
        import cupy

        probe = cupy.full((8, 8), 0.5, dtype=cupy.float32)
        total = float(cupy.tanh(probe @ probe).sum())
    except ModuleNotFoundError:
        install = "pip install 'tinyunet[cuda13]' for CUDA 13, 'tinyunet[cuda12]' for CUDA 12"
        return f"CuPy is not installed; {install}"
    except Exception as error:  # no driver, one too old, no device, a library that is missing
        line = str(error).strip().partition("\n")[0]  # CuPy's messages run over a page
        return (
            f"CuPy cannot compute on a GPU: {type(error).__name__}: {line}; nvidia-smi shows the "
            "driver and its CUDA; pip install 'cupy-cuda13x[ctk]' brings parts that are missing"
        )
    if not abs(total - 64 * np.tanh(2.0)) < 1e-3:
        return f"the GPU computes wrong numbers: a small test gave {total}"
    return None
