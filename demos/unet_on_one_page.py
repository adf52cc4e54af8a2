"""The whole U-Net on one page: forward, backpropagation, training and a picture, in NumPy alone.

Each operation returns its result `y` and a function `backward`, which turns `dy`, how fast the loss
grows with each number of `y`, into the same for what went in: `dx`, `dweight`, `dbias`. These are
the gradients. To find all of them, call every backward, last one first: that is backpropagation.

    image -> [encoder0] ------------- skip -------------> concat [decoder0] -> [head] -> logits
                 | pool                                     ^ up
             [encoder1] ------ skip ------> concat [decoder1]
                 | pool                       ^ up
             [bottleneck] --------------------

Images are arrays (N, H, W, C): how many, height, width, channels. Kernels are (KH, KW, C, F):
height, width, the channels of the image they read, and of the one they make. K counts the classes.
"""

import argparse

import numpy as np
from PIL import Image  # only to write the picture


def relu(x):
    """Replace what is negative by zero; only where x > 0 does a change of x change y."""
    return np.maximum(x, 0), lambda dy: dy * (x > 0)


def conv2d(x, weight, bias):
    """Make each pixel a weighted sum of the KH x KW pixels around it (KH and KW are odd)."""
    (KH, KW), (H, W) = weight.shape[:2], x.shape[1:3]
    padded = np.pad(x, ((0, 0), (KH // 2, KH // 2), (KW // 2, KW // 2), (0, 0)))  # zeros around
    y = bias
    for u, v in np.ndindex(KH, KW):
        # All pixels' neighbors in one direction are the image, shifted.
        y = y + padded[:, u : u + H, v : v + W] @ weight[u, v]  # (N, H, W, C) @ (C, F)

    def backward(dy):
        dpadded, dweight = np.zeros_like(padded), np.zeros_like(weight)
        for u, v in np.ndindex(KH, KW):
            # y sums products, and the gradient of one factor is dy times the other factor.
            dpadded[:, u : u + H, v : v + W] += dy @ weight[u, v].T
            neighbors = padded[:, u : u + H, v : v + W].swapaxes(2, 3)  # (N, H, C, W)
            dweight[u, v] = (neighbors @ dy).sum(axis=(0, 1))  # (N, H, C, F) -> (C, F)
        dx = dpadded[:, KH // 2 : KH // 2 + H, KW // 2 : KW // 2 + W]
        return dx, dweight, dy.sum(axis=(0, 1, 2))

    return y, backward


def max_pool2d(x):
    """Keep the largest of each 2 x 2 pixels; the gradient goes to this winner alone."""
    corners = np.stack([x[:, u::2, v::2] for u, v in np.ndindex(2, 2)])  # (4, N, H/2, W/2, C)
    winner = corners.argmax(axis=0)

    def backward(dy):
        dx = np.zeros_like(x)
        for corner, (u, v) in enumerate(np.ndindex(2, 2)):
            dx[:, u::2, v::2] = dy * (winner == corner)
        return dx

    return corners.max(axis=0), backward


def conv_transpose2d(x, weight, bias):
    """Run a convolution backwards, F channels to C: pixel (h, w) paints the four (2h+u, 2w+v)."""
    (N, H, W, _), C = x.shape, len(bias)
    y = np.einsum("nhwf,uvcf->nhuwvc", x, weight)  # sums over f, which is gone at right

    def backward(dy):
        squares = dy.reshape(N, H, 2, W, 2, C)
        dx = np.einsum("nhuwvc,uvcf->nhwf", squares, weight)
        dweight = np.einsum("nhuwvc,nhwf->uvcf", squares, x)
        return dx, dweight, dy.sum(axis=(0, 1, 2))

    return y.reshape(N, 2 * H, 2 * W, C) + bias, backward


def softmax_cross_entropy(logits, labels):
    """Average -log(p) over the pixels, where p is the probability given to the true class."""
    logits = logits - logits.max(axis=-1, keepdims=True)  # changes no p, but exp can't overflow
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    truth = labels[..., None] == np.arange(logits.shape[-1])  # (N, H, W, K), one True a pixel
    return -log_p[truth].mean(), lambda: (np.exp(log_p) - truth) / labels.size


def block(x, weight1, bias1, weight2, bias2):
    """Apply two convolutions, a ReLU after each."""
    y, conv1_backward = conv2d(x, weight1, bias1)
    y, relu1_backward = relu(y)
    y, conv2_backward = conv2d(y, weight2, bias2)
    y, relu2_backward = relu(y)

    def backward(dy):
        dy, dweight2, dbias2 = conv2_backward(relu2_backward(dy))
        dx, dweight1, dbias1 = conv1_backward(relu1_backward(dy))
        return dx, dweight1, dbias1, dweight2, dbias2

    return y, backward


def unet(x, parameters):
    """Go down to see what is there, and up again to say where: images to logits (N, H, W, K)."""
    skip0, encoder0_backward = block(x, *parameters["encoder0"])
    y, pool0_backward = max_pool2d(skip0)
    skip1, encoder1_backward = block(y, *parameters["encoder1"])
    y, pool1_backward = max_pool2d(skip1)
    y, bottleneck_backward = block(y, *parameters["bottleneck"])
    y, up1_backward = conv_transpose2d(y, *parameters["up1"])
    y, decoder1_backward = block(np.concatenate([skip1, y], axis=-1), *parameters["decoder1"])
    y, up0_backward = conv_transpose2d(y, *parameters["up0"])
    y, decoder0_backward = block(np.concatenate([skip0, y], axis=-1), *parameters["decoder0"])
    logits, head_backward = conv2d(y, *parameters["head"])

    def backward(dlogits):
        gradients = {}
        dy, *gradients["head"] = head_backward(dlogits)  # dx first, then what the star collects
        dy, *gradients["decoder0"] = decoder0_backward(dy)
        dskip0, dy = np.split(dy, 2, axis=-1)  # concatenated before, so taken apart
        dy, *gradients["up0"] = up0_backward(dy)
        dy, *gradients["decoder1"] = decoder1_backward(dy)
        dskip1, dy = np.split(dy, 2, axis=-1)
        dy, *gradients["up1"] = up1_backward(dy)
        dy, *gradients["bottleneck"] = bottleneck_backward(dy)
        dy = pool1_backward(dy) + dskip1  # two ways led on from here: gradients add up
        dy, *gradients["encoder1"] = encoder1_backward(dy)
        dy = pool0_backward(dy) + dskip0
        dx, *gradients["encoder0"] = encoder0_backward(dy)
        return dx, gradients

    return logits, backward


def initial_parameters(channels, classes, base, rng):
    """Draw random kernels so that numbers neither grow nor fade with depth (He); zero biases."""

    def layer(size, C, F, up=False):
        fan_in, outputs = (F, C) if up else (size * size * C, F)  # fan_in: how many y sums
        return [rng.normal(0, (2 / fan_in) ** 0.5, (size, size, C, F)), np.zeros(outputs)]

    return {
        "encoder0": layer(3, channels, base) + layer(3, base, base),
        "encoder1": layer(3, base, 2 * base) + layer(3, 2 * base, 2 * base),
        "bottleneck": layer(3, 2 * base, 4 * base) + layer(3, 4 * base, 4 * base),
        "up1": layer(2, 2 * base, 4 * base, up=True),
        "decoder1": layer(3, 4 * base, 2 * base) + layer(3, 2 * base, 2 * base),
        "up0": layer(2, base, 2 * base, up=True),
        "decoder0": layer(3, 2 * base, base) + layer(3, base, base),
        "head": layer(1, base, classes),
    }


def paint(count, size, rng):
    """Paint discs and rings of one color on the ground, which shows through the rings' holes."""
    images = np.full((count, size, size, 3), (0.3, 0.5, 0.3))
    labels = np.zeros((count, size, size), int)  # 0 is the ground, 1 a disc, 2 a ring
    rows, columns = np.mgrid[:size, :size]
    for image, label in zip(images, labels, strict=True):
        for kind, hole in ((1, 0), (2, 0.7), (1, 0), (2, 0.7), (1, 0)):
            row, column, radius = rng.uniform((0, 0, 4), (size, size, 9))
            distance = np.hypot(rows - row, columns - column)
            label[distance < radius] = kind
            image[distance < radius] = (0.8, 0.7, 0.4)
            image[distance < hole * radius] = (0.3, 0.5, 0.3)
    return images + rng.normal(0, 0.1, images.shape), labels


def main(arguments=None):
    """Train on images painted for each step, measure on others, and draw those."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=250, help="steps of training (250)")
    parser.add_argument("--out", default="unet_on_one_page.png", help="picture to write")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    parameters = initial_parameters(channels=3, classes=3, base=8, rng=rng)
    velocities = {name: [np.zeros_like(array) for array in parameters[name]] for name in parameters}
    new_images, truth = paint(8, 64, rng)  # never trained on
    for step in range(1, options.steps + 1):
        images, labels = paint(4, 64, rng)
        logits, unet_backward = unet(images, parameters)
        loss, loss_backward = softmax_cross_entropy(logits, labels)
        _, gradients = unet_backward(loss_backward())
        for name, arrays in parameters.items():
            for array, v, g in zip(arrays, velocities[name], gradients[name], strict=True):
                v[...] = 0.9 * v - 0.1 * g  # downhill, with momentum
                array += v  # changes the parameters in place
        if step % 50 == 0 or step == options.steps:
            found = unet(new_images, parameters)[0].argmax(axis=-1)
            iou = np.sum((found == 2) & (truth == 2)) / np.sum((found == 2) | (truth == 2))
            print(f"step {step}: loss {loss:.3f}, on new images the rings' IoU is {iou:.2f}")
    colors = np.array([(40, 40, 40), (230, 159, 0), (86, 180, 233)])  # of ground, disc, ring
    panels = np.stack([255 * new_images.clip(0, 1), colors[truth], colors[found]])
    panels = np.pad(panels, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    picture = np.vstack([np.hstack(list(images)) for images in panels]).astype("uint8")
    Image.fromarray(picture.repeat(2, axis=0).repeat(2, axis=1)).save(options.out)
    print(f"The picture: {options.out} (top: images, middle: truth, bottom: found)")
    print(f"You should have seen rings told from discs of the same color: their IoU is {iou:.2f}.")


if __name__ == "__main__":
    main()
