"""Where arrays live: NumPy in the computer's memory, or CuPy in the memory of a CUDA GPU.

CuPy has the functions of NumPy under the same names, so code that is written against one name,
`xp`, runs on both::

    from tinyunet.backend import use_device, xp

    use_device("cuda")          # or "cpu", or "auto"
    x = xp.zeros((1, 4, 6, 3))  # now on the GPU

The device is the only global state in tinyunet. Arrays do not move by themselves: `to_device` and
`to_host` are the two doors, and whoever mixes arrays of both sides gets a `TypeError` from CuPy.
"""

import ctypes
import importlib.metadata
import platform
import types

import numpy as np

from tinyunet.errors import UserError

DEVICES = ("auto", "cpu", "cuda")


class ArrayModule:
    """Stands for the array module in use: `xp.exp` is `numpy.exp` or `cupy.exp`."""

    def __init__(self) -> None:
        self.module: types.ModuleType = np

    def __getattr__(self, name: str):
        return getattr(self.module, name)

    def __repr__(self) -> str:
        return f"<xp: {self.module.__name__}>"


xp = ArrayModule()


def use_device(name: str = "auto") -> str:
    """Choose where new arrays live, for the whole process; returns ``"cpu"`` or ``"cuda"``.

    Parameters
    ----------
    name : str
        ``"cpu"``, ``"cuda"``, or ``"auto"``: the GPU where one answers, else the CPU.

    Raises
    ------
    UserError
        If the name is none of these, or ``"cuda"`` is asked for and cannot be used; the message
        has the reason and what to install.
    """
    if name not in DEVICES:
        raise UserError(f"unknown device {name!r}: choose one of {', '.join(DEVICES)}")
    problem = cuda_problem() if name != "cpu" else None
    if name == "cuda" and problem:
        raise UserError(f"no CUDA device can be used: {problem}")
    if name == "cpu" or problem:
        xp.module = np
    else:
        import cupy

        xp.module = cupy
    return device_name()


def device_name() -> str:
    """Return the device in use: ``"cpu"`` or ``"cuda"``."""
    return "cpu" if xp.module is np else "cuda"


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
        return (
            f"several CuPy packages are installed ({', '.join(packages)}) and spoil each other; "
            f"pip uninstall all of them, then {install}"
        )
    try:
        import cupy
    except Exception as error:  # a missing CUDA library can surface as any kind of exception here
        return f"CuPy cannot be imported: {first_line(error)}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CUDARuntimeError: no driver, a driver too old, no device
        return f"CuPy finds no GPU: {first_line(error)}; nvidia-smi shows the driver and its CUDA"
    if count == 0:
        return "the driver answers but lists no GPU; is CUDA_VISIBLE_DEVICES set to hide it?"
    try:
        probe = cupy.full((8, 8), 0.5, dtype=cupy.float32)
        total = float(cupy.tanh(probe @ probe).sum())
        if not abs(total - 64 * np.tanh(2.0)) < 1e-3:
            return f"the GPU computes wrong numbers: a small test gave {total}"
    except Exception as error:  # cuBLAS or the run-time compiler is missing or does not fit
        return (
            f"the GPU is found but CuPy cannot compute on it: {first_line(error)}; "
            "the CUDA toolkit's parts may be missing: pip install 'cupy-cuda13x[ctk]' brings them"
        )
    return None


def installed_cupy_packages() -> list[str]:
    """List the installed packages that provide CuPy: more than one is a broken installation."""
    names = {
        distribution.metadata["Name"].lower()
        for distribution in importlib.metadata.distributions()
        if distribution.metadata["Name"]
    }
    return sorted(name for name in names if name == "cupy" or name.startswith("cupy-cuda"))


def first_line(error: Exception) -> str:
    """Shorten an exception to its kind and first line: CuPy's messages run over a page."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def to_device(array):
    """Bring a host array to the device in use; on the CPU the array itself comes back."""
    return xp.asarray(array)


def to_host(array) -> np.ndarray:
    """Bring an array of either side to the computer's memory, as a NumPy array."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def strided_view(array, shape, strides):
    """Look at an array's memory with another shape and other strides (in bytes); for reading.

    What `as_strided` does, but on the CPU without its 15 microseconds of Python: a training step
    asks for a thousand views, and meanwhile no other thread may run Python.
    """
    if on_host(array) and array.flags.c_contiguous:
        return np.ndarray(shape, array.dtype, array, strides=strides)
    return xp.lib.stride_tricks.as_strided(array, shape, strides)


def on_host(array) -> bool:
    """Whether an array lives in the computer's memory: its values can be read without waiting."""
    return isinstance(array, np.ndarray)


def random_generator(*seed) -> np.random.Generator:
    """Make a source of random numbers from ints and lists of ints.

    It draws on the host, so that both devices see the same numbers.
    """
    return np.random.default_rng(np.hstack(seed))


def keep_freed_memory() -> None:
    """Ask the C library to keep the memory of freed arrays for the arrays to come.

    Each training step makes the same large arrays as the one before. By default their memory goes
    back to the operating system in between, which hands it out again page by page, each page
    cleared first: a tenth of the time of a step and more. This works for the C library of GNU/Linux
    (`mallopt`, see its manual page) and does nothing elsewhere.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, top_pad, mmap_max, arena_max = -1, -2, -4, -8
    mallopt(mmap_max, 0)  # no array gets pages of its own, which would go back when it is freed
    mallopt(trim_threshold, 2**31 - 1)  # bytes that may lie free at the end before any go back
    mallopt(top_pad, 2**26)  # bytes to ask for at a time
    mallopt(arena_max, 1)  # one store for all threads, so that one can use what another freed
