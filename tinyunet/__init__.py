"""A U-Net from scratch: every layer and every gradient written by hand, on NumPy or CuPy."""

from tinyunet.backend import use_device
from tinyunet.nn.gradcheck import check_adjoint, check_gradients, check_layer
from tinyunet.nn.summary import summarize
from tinyunet.nn.unet import UNet

__all__ = [
    "UNet",
    "check_adjoint",
    "check_gradients",
    "check_layer",
    "summarize",
    "use_device",
]
__version__ = "0.2.0"
