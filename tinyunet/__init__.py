"""A U-Net from scratch: every layer and every gradient written by hand, on NumPy or CuPy."""

from tinyunet import fast
from tinyunet.backend import use_device
from tinyunet.nn.gradcheck import check_adjoint, check_gradients, check_layer
from tinyunet.nn.operations import operations, use_operations
from tinyunet.nn.summary import summarize
from tinyunet.nn.unet import UNet

operations.choices["fast"] = fast
use_operations("fast")

__all__ = [
    "UNet",
    "check_adjoint",
    "check_gradients",
    "check_layer",
    "summarize",
    "use_device",
    "use_operations",
]
__version__ = "0.2.0"
