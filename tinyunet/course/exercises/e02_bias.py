"""A bias: one number for each channel, added to every pixel.

THE IDEA. Images are arrays (N, H, W, C): N images of H rows and W columns, and C channels for
each pixel. A layer has one bias for each channel. It is added to all pixels of that channel, in
all images; so it is used many times.

FORWARD        y[n, h, w, c] = x[n, h, w, c] + bias[c]

BACKWARD. Each x goes to one y. But each bias goes to N * H * W of them: if you raise it a
little, all of these rise. What the loss does then is the *sum* of what each of them does to it.
This is the most important rule of the course: **where a number is used several times, its
gradients add up.**

The gradient of an array always has the shape of that array. (`array.sum(axis=(0, 1))` sums over
the first two axes.)
"""


def add_bias(x, bias):
    """Add a bias (C,) to images x (N, H, W, C)."""
    y = x + bias

    def backward(dy):
        dx = ...  # your turn, shape (N, H, W, C)
        dbias = ...  # your turn, shape (C,)
        return dx, dbias

    return y, backward
