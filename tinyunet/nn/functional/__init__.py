"""The mathematics, one file an operation, each backward right under its forward.

An operation is a pure function. It returns its result and a function ``backward(dy)`` that turns
the gradient of the loss with respect to the result into those with respect to the arguments: one
alone, or a tuple in the order of the arguments. In reading order:

`relu`, `conv2d` (with `im2col`, `col2im`), `max_pool2d`, `conv_transpose2d`, `upsample_nearest2d`,
`concat` (with `crop`), `softmax`, `softmax_cross_entropy`, `dice_loss`, `batch_norm2d`, `dropout`.
"""

from tinyunet.nn.functional.activation import relu
from tinyunet.nn.functional.concatenation import concat, crop
from tinyunet.nn.functional.convolution import conv2d
from tinyunet.nn.functional.cross_entropy import softmax_cross_entropy
from tinyunet.nn.functional.dice import dice_loss
from tinyunet.nn.functional.dropout import dropout
from tinyunet.nn.functional.normalization import batch_norm2d, normalize_batch
from tinyunet.nn.functional.patches import col2im, im2col
from tinyunet.nn.functional.pooling import max_pool2d
from tinyunet.nn.functional.softmax import softmax
from tinyunet.nn.functional.transposed_convolution import conv_transpose2d
from tinyunet.nn.functional.upsampling import upsample_nearest2d
