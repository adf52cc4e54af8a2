"""The answers to the exercises of `tinyunet learn`, and wrong ones with what must be said to each.

An answer is the text that takes the place of the lines with three dots. A wrong answer comes with a
piece of the message that it must get, on one line.
"""

# What stands in the place of the lines of backward that end in "...", by the exercise.
ANSWERS = {
    "01_relu": "dx = dy * (x > 0)",
    "02_bias": """
        dx = dy
        dbias = dy.sum(axis=(0, 1, 2))
    """,
    "03_matrix_product": """
        dx = dy @ weight.T
        dweight = x.T @ dy
    """,
    "04_cross_entropy": "dlogits = dloss * (p - truth) / pixels",
    "05_im2col": """
        dx = np.zeros_like(x)
        for u in range(kernel_height):
            for v in range(kernel_width):
                dx[:, u : u + out_height, v : v + out_width] += dcolumns[:, :, :, u, v]
    """,
    "06_convolution_weights": """
        dweight = np.zeros_like(weight)
        for u in range(kernel_height):
            for v in range(kernel_width):
                shifted = x[:, u : u + out_height, v : v + out_width]
                dweight[u, v] = shifted.reshape(-1, channels).T @ dy.reshape(-1, filters)
        dbias = dy.sum(axis=(0, 1, 2))
    """,
    "07_convolution_image": """
        dx = np.zeros_like(x)
        for u in range(kernel_height):
            for v in range(kernel_width):
                dx[:, u : u + out_height, v : v + out_width] += dy @ weight[u, v].T
    """,
    "08_convolution": """
        dpadded = np.zeros_like(padded)
        dweight = np.zeros_like(weight)
        for u in range(kernel_height):
            for v in range(kernel_width):
                dpadded[seen_by(u, v)] += dy @ weight[u, v].T
                shifted = padded[seen_by(u, v)].reshape(-1, channels)
                dweight[u, v] = shifted.T @ dy.reshape(-1, filters)
        dx = dpadded[:, padding : height - padding, padding : width - padding]
        dbias = dy.sum(axis=(0, 1, 2))
    """,
    "09_max_pooling": """
        dx = np.zeros_like(x)
        for u in (0, 1):
            for v in (0, 1):
                dx[:, u::2, v::2] = dy * (winner == 2 * u + v)
    """,
    "10_upsampling": """
        dx = dy.reshape(images, height, scale, width, scale, channels).sum(axis=(2, 4))
    """,
    "11_transposed_convolution": """
        dx, dweight = np.zeros_like(x), np.zeros_like(weight)
        for u in (0, 1):
            for v in (0, 1):
                part = dy[:, u::2, v::2]
                dx += part @ weight[u, v]
                rows = part.reshape(-1, part.shape[3])
                dweight[u, v] = rows.T @ x.reshape(-1, x.shape[3])
        dbias = dy.sum(axis=(0, 1, 2))
    """,
    "12_concatenation": """
        dskip = dy[..., : skip.shape[3]]
        dx = dy[..., skip.shape[3] :]
    """,
    "13_batch_normalization": """
        dx_hat = dy * gamma
        mean_of_product = (dx_hat * x_hat).mean(axis=pixels)
        dx = (dx_hat - dx_hat.mean(axis=pixels) - x_hat * mean_of_product) / deviation
        dgamma = (dy * x_hat).sum(axis=pixels)
        dbeta = dy.sum(axis=pixels)
    """,
    "14_fork_and_join": "dx = left_backward(dy) + right_backward(dy)",
    "15_optimizers": {
        "sgd": """
    new_velocity = momentum * velocity + g
    new_value = value - lr * new_velocity
    """,
        "adam": """
    new_mean = beta1 * mean + (1 - beta1) * g
    new_mean_square = beta2 * mean_square + (1 - beta2) * g**2
    m = new_mean / (1 - beta1**t)
    s = new_mean_square / (1 - beta2**t)
    new_value = value - lr * m / (s**0.5 + epsilon)
    """,
    },
    "16_unet": """
        dskip0, dy = concat0_backward(dy)
        dy = up0_backward(dy)
        dy = decoder1_backward(dy)
        dskip1, dy = concat1_backward(dy)
        dy = up1_backward(dy)
        dy = bottleneck_backward(dy)
        dy = pool1_backward(dy) + dskip1
        dy = encoder1_backward(dy)
        dy = pool0_backward(dy) + dskip0
        dx = encoder0_backward(dy)
    """,
}

# (exercise, what is replaced in the answer, by what, a piece of the message)
WRONG = [
    ("01_relu", "(x > 0)", "(dy > 0)", "not linear in dy"),
    ("01_relu", "dy * (x > 0)", "dy", "flows where it should be zero"),
    ("01_relu", "(x > 0)", "(x < 0)", "Is a mask inverted?"),
    ("01_relu", "dy * (x > 0)", "1.0 * (x > 0)", "the same whatever dy is"),
    ("01_relu", "dy * (x > 0)", "dy * y", "multiplied by x once too often"),
    ("01_relu", "dx = dy * (x > 0)", "dy *= x > 0\n        dx = dy", "backward overwrites dy"),
    ("02_bias", "dy.sum(axis=(0, 1, 2))", "dy.mean(axis=(0, 1, 2))", "mean where the sum belongs"),
    (
        "02_bias",
        "dy.sum(axis=(0, 1, 2))",
        "dy",
        "bias has shape (2,): a gradient has the shape of its namesake",
    ),
    ("02_bias", "dy.sum(axis=(0, 1, 2))", "dy[0].sum(axis=(0, 1))", "from dy in the last image"),
    ("02_bias", "dy.sum(axis=(0, 1, 2))", "dy.sum()", "dbias is an array of shape ()"),
    ("02_bias", "dx = dy", "dx = dy * bias", "dx is wrong: it is multiplied by bias once too"),
    ("03_matrix_product", "dy @ weight.T", "-dy @ weight.T", "dx is wrong: it has the opposite"),
    ("03_matrix_product", "x.T @ dy", "x.T @ dy / len(x)", "mean where the sum belongs"),
    ("03_matrix_product", "x.T @ dy", "(x.T @ dy).T", "the shape of its namesake"),
    ("03_matrix_product", "weight.T", "weight", "stops with ValueError"),
    ("03_matrix_product", "x.T @ dy", "np.outer(x[0], dy[0])", "name 'np' is not defined"),
    ("04_cross_entropy", "(p - truth)", "(truth - p)", "opposite sign"),
    ("04_cross_entropy", "dloss * (p - truth)", "(p - truth)", "the same whatever dy is"),
    (
        "04_cross_entropy",
        " / pixels",
        "",
        "30 times what it should be (30 = images * rows * columns?)",
    ),
    ("04_cross_entropy", "(p - truth)", "p", "in 1 of the 3 channels of each pixel"),
    (
        "04_cross_entropy",
        " / pixels",
        " / len(logits)",
        "15 times what it should be (15 = rows * columns?)",
    ),
    ("04_cross_entropy", "(p - truth)", "p * (p - truth)", "softmax(logits) once too often"),
    ("05_im2col", "+=", "=", "= where += belongs"),
    (
        "05_im2col",
        "range(kernel_width)",
        "range(kernel_width - 1)",
        "comes back from dy in the las",
    ),
    ("05_im2col", "dcolumns[:, :, :, u, v]", "dcolumns[:, :, :, u, v] / 6", "1/6 of what it sh"),
    ("05_im2col", "dcolumns[:, :, :, u, v]", "dcolumns[:, :, :, 0, 0]", "dx is wrong"),
    ("06_convolution_weights", "dy.sum(axis=(0, 1, 2))", "dy.mean(axis=(0, 1, 2))", "dbias is wro"),
    (
        "06_convolution_weights",
        "dweight[u, v] =",
        "dweight[-1 - u, -1 - v] =",
        "dweight is wrong: it is flipped along its kernel rows and kernel columns",
    ),
    (
        "06_convolution_weights",
        "range(kernel_width)",
        "range(1)",
        "its part in kernel columns 1 and 2 is zero",
    ),
    (
        "06_convolution_weights",
        ".T @ dy.reshape(-1, filters)",
        ".T @ dy.reshape(-1, filters) / len(x)",
        "dweight is wrong: everywhere it is 1/2 of what it should be",
    ),
    ("07_convolution_image", "+=", "=", "= where += belongs"),
    ("07_convolution_image", "weight[u, v].T", "weight[-1 - u, -1 - v].T", "weight flipped along"),
    ("07_convolution_image", "dy @", "-dy @", "opposite sign"),
    (
        "07_convolution_image",
        "dx[:, u : u + out_height",
        "dx[:, : out_height",
        "dx is wrong",
    ),
    (
        "07_convolution_image",
        "dy @ weight[u, v].T",
        "dy[..., :1] @ weight[u, v, :, :1].T",
        "what comes back from dy in channels 1 and 2 is zero",
    ),
    (
        "08_convolution",
        "padding : height - padding",
        ": height - 2 * padding",
        "but shifted, +1 al",
    ),
    ("08_convolution", "dpadded[seen_by(u, v)] +=", "dpadded[seen_by(u, v)] =", "where += belongs"),
    ("08_convolution", "dy @ weight[u, v].T", "dy @ weight[-1 - u, v].T", "flipped along its kern"),
    ("08_convolution", "dx = dpadded[", "dx = dpadded[0:, ", "dx is an array"),
    (
        "08_convolution",
        "dx = dpadded[:, padding : height - padding",
        "dx = dpadded[:, :",
        "dx is an array",
    ),
    ("08_convolution", "dx = dpadded[", "dx = dpadded / 2; dx = dx[", "1/2 of what it should be"),
    ("09_max_pooling", "dy * (winner == 2 * u + v)", "dy", "flows where it should be zero"),
    ("09_max_pooling", "dy * (winner == 2 * u + v)", "dy / 4", "it is 1/4 of what it should be"),
    ("09_max_pooling", "2 * u + v", "u + 2 * v", "right numbers go to wrong places"),
    ("09_max_pooling", "dy * (winner", "1.0 * (winner", "the same whatever dy is"),
    ("10_upsampling", ".sum(axis=(2, 4))", ".mean(axis=(2, 4))", "mean where the sum belongs"),
    ("10_upsampling", ".sum(axis=(2, 4))", "[:, :, 0, :, 0]", "contributions are lost"),
    (
        "10_upsampling",
        ".sum(axis=(2, 4))",
        "[:, :, 0, :, 0] * scale",
        "that, it is 2 times what it",
    ),
    ("10_upsampling", ".sum(axis=(2, 4))", ".sum(axis=2)[:, :, :, 0]", "from dy in columns 1, 3,"),
    ("10_upsampling", ".sum(axis=(2, 4))", ".max(axis=(2, 4))", "not linear in dy"),
    ("11_transposed_convolution", "dx += part", "dx = part", "where += belongs"),
    ("11_transposed_convolution", "weight[u, v]\n", "weight[v, u]\n", "weight transposed"),
    (
        "11_transposed_convolution",
        "dweight[u, v] =",
        "dweight[v, u] =",
        "dweight is wrong: it is tr",
    ),
    (
        "11_transposed_convolution",
        "dbias = dy.sum",
        "dbias = dy.mean",
        "mean where the sum belongs",
    ),
    ("11_transposed_convolution", "dy[:, u::2, v::2]", "dy[:, ::2, ::2]", "Right: dbias."),
    ("12_concatenation", "skip.shape[3] :]", "-skip.shape[3] :]", "dx is an array"),
    (
        "12_concatenation",
        "dskip = dy[..., : skip.shape[3]]",
        "dskip = dy[..., 1 : skip.shape[3] + 1]",
        "shifted, -1 along its channels",
    ),
    ("12_concatenation", "dskip = dy[", "dskip = 0 * dy[", "dskip is wrong: it is zero everywhere"),
    (
        "12_concatenation",
        "dskip = dy[..., : skip.shape[3]]\n        dx =",
        "dx = dy[..., : skip.shape[3]]\n        dskip =",
        "the order is dskip, dx",
    ),
    ("13_batch_normalization", " - dx_hat.mean(axis=pixels)", "", "was not subtracted"),
    ("13_batch_normalization", " - x_hat * mean_of_product", "", "the path by the variance"),
    (
        "13_batch_normalization",
        "(dy * x_hat).sum",
        "(dy * x).sum",
        "it is dy * x summed over its images, rows and columns",
    ),
    ("13_batch_normalization", "dx_hat = dy * gamma", "dx_hat = dy", "the factor gamma is missing"),
    ("13_batch_normalization", " / deviation", "", "Is it divided by the deviation, once?"),
    ("13_batch_normalization", "dbeta = dy.sum", "dbeta = dy.mean", "dbeta is wrong: it is a mean"),
    ("14_fork_and_join", " + right_backward(dy)", "", "only what comes back through left"),
    ("14_fork_and_join", "left_backward(dy) + ", "", "only what comes back through right"),
    (
        "14_fork_and_join",
        "left_backward(dy) + right_backward(dy)",
        "left_backward(right_backward(dy))",
        "stand side by side",
    ),
    ("14_fork_and_join", "right_backward(dy)", "left_backward(dy)", "is never called"),
    (
        "14_fork_and_join",
        "left_backward(dy) + right_backward(dy)",
        "(left_backward(dy) + right_backward(dy)) / 2",
        "0.5 times",
    ),
    (
        "15_optimizers",
        "momentum * velocity + g",
        "momentum * velocity + (1 - momentum) * g",
        "1 - m",
    ),
    (
        "15_optimizers",
        "value - lr * new_velocity",
        "value + lr * new_velocity",
        "sgd: after the se",
    ),
    ("15_optimizers", "value - lr * new_velocity", "value - lr * g", "moves by g, not by the velo"),
    ("15_optimizers", "momentum * velocity + g", "g", "the old velocity is forgotten"),
    ("15_optimizers", "(1 - beta2) * g**2", "(1 - beta2) * g", "g is not squared"),
    ("15_optimizers", "new_mean / (1 - beta1**t)", "new_mean", "mean stands where m belongs"),
    ("15_optimizers", "beta1**t", "beta1**(t - 1)", "NaN or infinite: is something divided by 0"),
    ("15_optimizers", "beta1**t", "beta1**2", "after the first step the value is wrong"),
    ("15_optimizers", "(s**0.5 + epsilon)", "(s + epsilon)", "the square root is missing"),
    ("15_optimizers", "(s**0.5 + epsilon)", "(s + epsilon) ** 0.5", "outside of the square root"),
    (
        "15_optimizers",
        "new_value = value - lr * m",
        "value -= lr * m\n    new_value = value; m",
        "ov",
    ),
    ("16_unet", "pool0_backward(dy) + dskip0", "pool0_backward(dy)", "comes back through skip0"),
    ("16_unet", "pool1_backward(dy) + dskip1", "pool1_backward(dy)", "comes back through skip1"),
    ("16_unet", "pool0_backward(dy) + dskip0", "dskip0", "nothing comes back through pool0"),
    ("16_unet", "dskip1, dy = concat1", "dy, dskip1 = concat1", "concat1 returns are exchanged"),
    ("16_unet", "        dy = bottleneck_backward(dy)\n", "", "bottleneck is never called"),
    ("16_unet", "dskip0, dy = concat0_backward(dy)", "dy = concat0_backward(dy)", "up0 is given a"),
    ("16_unet", "dy = up1_backward(dy)\n", "pass\n", "the backward of bottleneck is given"),
]


def solve(name: str, text: str, answer: str | None = None) -> str:
    """Put an answer in the place of the lines with three dots."""
    answer = ANSWERS[name] if answer is None else answer
    parts = answer if isinstance(answer, dict) else {"": answer}
    lines, wanted = [], list(parts.values())
    was_dots = False
    for line in text.splitlines():
        dots = " = ..." in line and "your turn" in line
        if dots and not was_dots:
            body = wanted.pop(0).strip("\n").rstrip()
            indent = len(line) - len(line.lstrip())
            lines += body.splitlines() if body.startswith(" ") else [" " * indent + body]
        elif not dots:
            lines.append(line)
        was_dots = dots
    return "\n".join(lines) + "\n"


def spoil(name: str, text: str, old: str, new: str) -> str:
    """Put an answer with a mistake in the place of the lines with three dots."""
    solved = solve(name, text)
    position = max(solved.rfind("def backward"), solved.find("def sgd"))
    assert old in solved[position:], f"{old!r} is not in the answer to {name}"
    return solved[:position] + solved[position:].replace(old, new, 1)
