"""Where arrays live: NumPy in the computer's memory, or CuPy in the memory of a CUDA GPU.

CuPy has the functions of NumPy under the same names, so code that is written against one name,
`xp`, runs on both::

    from tinyunet.backend import use_device, xp

    use_device("cuda")          # or "cpu", or "auto"
    x = xp.zeros((1, 4, 6, 3))  # now on the GPU

Arrays do not move by themselves: `to_device` and `to_host` are the only ways across, and mixing
host and device arrays is a `TypeError` of CuPy's.
"""

import types
from typing import Any, TypeAlias

import numpy as np

from tinyunet.cuda import cuda_problem
from tinyunet.errors import UserError

DEVICES = ("auto", "cpu", "cuda")
Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray


class ArrayModule:
    """Stands for the array module in use: `xp.exp` is `numpy.exp` or `cupy.exp`."""

    def __init__(self) -> None:
        self.module: types.ModuleType = np

    def __getattr__(self, name: str) -> Any:
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


def to_device(array: Array) -> Array:
    """Bring a host array to the device in use; on the CPU the array itself comes back."""
    return xp.asarray(array)


def to_host(array: Array) -> np.ndarray:
    """Bring an array from either side to the computer's memory, as a NumPy array."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def on_host(array: Array) -> bool:
    """Tell whether an array lives in the computer's memory: reading it then costs no waiting."""
    return isinstance(array, np.ndarray)


def random_generator(*seed: Any) -> np.random.Generator:
    """Make a source of random numbers from ints and lists of ints.

    Without any, it is another one each time. It draws on the host, so that both devices see the
    same numbers.
    """
    return np.random.default_rng(np.hstack(seed) if seed else None)
