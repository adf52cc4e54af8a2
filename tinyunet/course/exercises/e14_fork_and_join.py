"""Fork and join: an image goes two ways, and the results meet again.

THE IDEA. In the U, an image that the encoder made goes down into the pooling *and* across to
the decoder. There is no operation at a fork, the same array is simply used twice. So it is
easily forgotten on the way back.

FORWARD        y = left(x) + right(x)

`left` and `right` are operations such as you have written: each takes an array and returns
(result, backward). You need not know what they do.

BACKWARD. Walk the picture from right to left. Where the two results were *added*, each gets the
whole dy (if one of them grows by 1, y does, too). Each way back is the backward of that
operation. And where the arrow forked off, two gradients arrive for the same x.

                      +-- left ---+
               x -----+           + ---- y
                      +-- right --+
"""


def fork(x, left, right):
    """Send x through both operations and add what they give."""
    from_left, left_backward = left(x)
    from_right, right_backward = right(x)
    y = from_left + from_right

    def backward(dy):
        dx = ...  # your turn, shape of x
        return dx

    return y, backward
