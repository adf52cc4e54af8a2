"""The operations of `tinyunet.nn.functional` and the optimizers once more, made fast.

The same names with the same signatures and, but for rounding, the same results: read there what
an operation is, and here how it is made fast. Where the plain form is fast enough, it is this one.
"""

from tinyunet.fast.convolution import conv2d, conv_transpose2d
from tinyunet.fast.cross_entropy import softmax_cross_entropy
from tinyunet.fast.normalization import normalize_batch
from tinyunet.fast.optimizers import SGD, Adam
from tinyunet.fast.pooling import max_pool2d
from tinyunet.nn.functional import (
    batch_norm2d,
    col2im,
    concat,
    crop,
    dice_loss,
    dropout,
    im2col,
    relu,
    softmax,
    upsample_nearest2d,
)
