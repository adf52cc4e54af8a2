"""The exercises in their order: what each is called, the chapter to read, and the hints."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from tinyunet.course import checks


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes
    ----------
    name : str
        Of its file, without the ending: ``"01_relu"``.
    title : str
    chapter : str
        The page of the book that explains it.
    check : function
        Takes the student's module; raises `checks.Wrong` or `checks.NotWritten`.
    hints : tuple of str
        From a nudge to all but the code.
    offers : tuple of str
        What of it the U-Net at the end can use.
    """

    name: str
    title: str
    chapter: str
    check: Callable[[ModuleType], None]
    hints: tuple[str, ...]
    offers: tuple[str, ...] = ()


EXERCISES = (
    Exercise(
        "01_relu",
        "ReLU",
        "docs/pooling.md",
        checks.check_relu,
        (
            "Where x is positive, y = x: if x grows by 1, so does y. Where it is negative, y "
            "stays 0.",
            "So dx is dy where x is positive, and 0 elsewhere.",
            "A comparison such as x > 0 gives an array of True and False, which count as 1 and 0 "
            "when they are multiplied by numbers.",
        ),
        ("relu",),
    ),
    Exercise(
        "02_bias",
        "A bias",
        "docs/notation.md",
        checks.check_bias,
        (
            "dx: if one entry of x grows by 1, the same entry of y grows by 1, and no other.",
            "dbias: which entries of y grow if bias[c] does? All pixels of channel c, in all "
            "images.",
            "dbias[c] is the sum of dy over images, rows and columns. Those are the axes 0, 1 and "
            "2.",
        ),
    ),
    Exercise(
        "03_matrix_product",
        "A matrix product",
        "docs/notation.md",
        checks.check_linear,
        (
            "dx[m, c] sums over f: a row of dy times a row of weight. A matrix product sums a row "
            "times a *column*, so the weight has to be transposed.",
            "dweight[c, f]: it is used for every row m, and multiplied there by x[m, c]. So it is "
            "the sum over m of x[m, c] * dy[m, f].",
            "By the shapes: (M, F) times (F, C) gives (M, C); and (C, M) times (M, F) gives (C, "
            "F).",
        ),
    ),
    Exercise(
        "04_cross_entropy",
        "Softmax and cross-entropy",
        "docs/cross_entropy.md",
        checks.check_cross_entropy,
        (
            "The derivative of log(sum of exp(logits)) with respect to logits[k] is "
            "exp(logits[k]) / sum of exp(logits). Forward has computed that already.",
            "For one pixel the gradient is p[k], and minus 1 at the true class. Forward has an "
            "array that is 1 just there.",
            "The loss is the mean over all pixels, so each pixel's part is divided by their "
            "number. And all of it is multiplied by dloss, whatever that is.",
        ),
        ("softmax_cross_entropy",),
    ),
    Exercise(
        "05_im2col",
        "Patches",
        "docs/convolution.md",
        checks.check_im2col,
        (
            "Make an array of zeros in the shape of x. Then loop over u and v as forward does.",
            "In forward, columns[:, :, :, u, v] is a copy of a part of x. In backward, the same "
            "part of dx gets dcolumns[:, :, :, u, v].",
            "The parts overlap. What is already there must stay: add to it.",
        ),
    ),
    Exercise(
        "06_convolution_weights",
        "Convolution: weights and bias",
        "docs/convolution.md",
        checks.check_convolution_weights,
        (
            "dbias is as in exercise 2, word for word.",
            "For dweight, loop over u and v and make the shifted image as forward does. The "
            "product is shifted @ weight[u, v], and exercise 3 says what dweight of a product is.",
            "For a matrix product over all pixels at once, turn both into matrices with one row "
            "for each pixel: shifted.reshape(-1, channels) and dy.reshape(-1, filters).",
        ),
    ),
    Exercise(
        "07_convolution_image",
        "Convolution: the image",
        "docs/convolution.md",
        checks.check_convolution_image,
        (
            "Begin with zeros in the shape of x, and loop over u and v.",
            "For one tap, exercise 3 gives the gradient of the shifted image: dy times the "
            "transpose of weight[u, v]. (The @ of an image and a matrix treats each pixel as a "
            "row.)",
            "Add it to the part of dx that lies where the shifted image was cut out of x.",
        ),
    ),
    Exercise(
        "08_convolution",
        "Convolution with stride and padding",
        "docs/convolution.md",
        checks.check_convolution,
        (
            "Copy the loops of your last two exercises, and use padded[seen_by(u, v)] for the "
            "shifted image.",
            "Collect the gradient in an array of the shape of padded: dpadded[seen_by(u, v)] += "
            "...",
            "At the end dx is dpadded without its border: rows and columns from padding on, as "
            "many as x has. (dpadded[:, padding:-padding] is empty where padding is 0.)",
        ),
        ("conv2d",),
    ),
    Exercise(
        "09_max_pooling",
        "Max pooling",
        "docs/pooling.md",
        checks.check_max_pooling,
        (
            "The winner gets dy, whole. The other three get 0.",
            "Begin with zeros in the shape of x. The members of all windows at place (u, v) are "
            "x[:, u::2, v::2], an array of the shape of dy, and so are those of dx.",
            "The place (u, v) has the number 2 * u + v. Where `winner` has this number, it gets "
            "dy.",
        ),
        ("max_pool2d",),
    ),
    Exercise(
        "10_upsampling",
        "Upsampling",
        "docs/pooling.md",
        checks.check_upsampling,
        (
            "Each x is used scale * scale times. So its gradient is a sum of as many entries of "
            "dy.",
            "Give the square of each pixel two axes of its own, by the reshape in the text.",
            "Then sum over these two axes.",
        ),
    ),
    Exercise(
        "11_transposed_convolution",
        "Transposed convolution",
        "docs/transposed_convolution.md",
        checks.check_transposed_convolution,
        (
            "Loop over u and v. The part of dy that belongs to this place of the stamp is dy[:, "
            "u::2, v::2], with C channels.",
            "Forward has x @ weight[u, v].T there. So dx gets that part times the transpose of "
            "weight[u, v].T, which is weight[u, v] itself; and it gets this four times.",
            "dweight[u, v] has the shape (C, F): the part of dy with a row for each pixel, "
            "transposed, times x with a row for each pixel. dbias is the sum over all pixels of y.",
        ),
        ("conv_transpose2d",),
    ),
    Exercise(
        "12_concatenation",
        "Concatenation",
        "docs/skip_connections.md",
        checks.check_concatenation,
        (
            "The channels of dy lie as those of y: first those of the skip, then those of x.",
            "The skip has skip.shape[3] channels.",
            "dy[..., :n] are the first n channels, dy[..., n:] are the others.",
        ),
        ("concat",),
    ),
    Exercise(
        "13_batch_normalization",
        "Batch normalization",
        "docs/batch_normalization.md",
        checks.check_batch_normalization,
        (
            "dbeta is as in exercise 2. dgamma is the sum over the same pixels of dy times what "
            "gamma was multiplied by, and that is not x.",
            "For dx, write dx_hat = dy * gamma first, then the formula of the text, term by term. "
            "`mean of` is .mean(axis=pixels).",
            "The second mean is that of the product: (dx_hat * x_hat).mean(axis=pixels). All "
            "three terms are divided by the deviation.",
        ),
        ("batch_norm2d",),
    ),
    Exercise(
        "14_fork_and_join",
        "Fork and join",
        "docs/skip_connections.md",
        checks.check_fork,
        (
            "Both backwards are given the same dy.",
            "Each returns a gradient of x. Where a number is used several times, its gradients ...",
        ),
    ),
    Exercise(
        "15_optimizers",
        "SGD with momentum, and Adam",
        "docs/training.md",
        checks.check_optimizers,
        (
            "Write the lines of the formulas one after the other; what stands on the right of `=` "
            "in a line may have been computed in the line above.",
            "The value moves by the *new* velocity. In Adam, m and s are computed from the new "
            "mean and the new mean_square, and are not returned.",
            "new_value = value - ... makes a new array. beta1**t is beta1 to the power t.",
        ),
        ("adam",),
    ),
    Exercise(
        "16_unet",
        "The U-Net",
        "docs/wiring.md",
        checks.check_unet,
        (
            "Go through forward from its last line to its first, and call the backward of each "
            "line with the gradient of what stands on the left of its `=`.",
            "The backward of concat0 returns two: dskip0, dy = concat0_backward(dy). Keep dskip0 "
            "until you come to where skip0 was made; dy goes on to up0.",
            "skip1 goes into pool1 and into concat1. So what pool1_backward returns and dskip1 "
            "are added before encoder1_backward gets them.",
        ),
        ("unet",),
    ),
)
