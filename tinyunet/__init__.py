"""A U-Net from scratch: every layer and every gradient written by hand, on NumPy or CuPy."""

from importlib import import_module
from typing import TYPE_CHECKING

from tinyunet.nn.operations import operations, use_operations

if TYPE_CHECKING:
    from tinyunet.backend import use_device
    from tinyunet.nn.gradcheck import check_adjoint, check_gradients, check_layer
    from tinyunet.nn.summary import summarize
    from tinyunet.nn.unet import UNet
    from tinyunet.segmenter import Segmenter

operations.choices["fast"] = ["tinyunet.fast"]
use_operations("fast")

__all__ = ["Segmenter", "UNet", "check_adjoint", "check_gradients", "check_layer", "summarize"]
__all__ += ["use_device", "use_operations"]
__version__ = "0.2.0"

# Where each name comes from, when it is asked for
_HOMES = {"Segmenter": "segmenter", "UNet": "nn.unet", "summarize": "nn.summary", "fast": "fast"}
_HOMES |= {f"check_{what}": "nn.gradcheck" for what in ("adjoint", "gradients", "layer")}
_HOMES |= {"use_device": "backend"}


def __getattr__(name: str):
    """Import what is asked for when it is asked for: NumPy and all else take half a second."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tinyunet' has no attribute {name!r}")
    module = import_module(f"tinyunet.{_HOMES[name]}")
    return getattr(module, name, module)
