"""A U-Net from scratch: every layer and every gradient written by hand, on NumPy or CuPy."""

from typing import TYPE_CHECKING

from tinyunet import fast
from tinyunet.backend import use_device
from tinyunet.nn.gradcheck import check_adjoint, check_gradients, check_layer
from tinyunet.nn.operations import operations, use_operations
from tinyunet.nn.summary import summarize
from tinyunet.nn.unet import UNet

if TYPE_CHECKING:
    from tinyunet.segmenter import Segmenter

operations.choices["fast"] = fast
use_operations("fast")

__all__ = [
    "Segmenter",
    "UNet",
    "check_adjoint",
    "check_gradients",
    "check_layer",
    "summarize",
    "use_device",
    "use_operations",
]
__version__ = "0.2.0"


def __getattr__(name: str):
    """Import the Segmenter when it is asked for: what it needs takes longer than all the rest."""
    if name == "Segmenter":
        from tinyunet.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module 'tinyunet' has no attribute {name!r}")
