"""A matrix product: the work that almost all of a network's time goes into.

THE IDEA. Each row of x is one thing that is described by C numbers (a pixel, say). The weights
make F new numbers out of them, each a weighted sum of the C.

FORWARD        y[m, f] = sum over c of x[m, c] * weight[c, f]

BACKWARD. Take one product x[m, c] * weight[c, f]. It is part of y[m, f]. If x[m, c] grows by 1,
the product grows by weight[c, f]; so of dy[m, f], this x gets weight[c, f] times as much. And
x[m, c] is used for every f, so these add up:

               dx[m, c] = sum over f of dy[m, f] * weight[c, f]

Now find the same for dweight[c, f]: in which y is it used, and with what is it multiplied
there? Both sums are matrix products themselves. `array.T` is the transpose. The shapes show the
way: dx is (M, C), dweight is (C, F).
"""


def linear(x, weight):
    """Multiply x (M, C) by weight (C, F)."""
    y = x @ weight  # (M, C) @ (C, F) -> (M, F)

    def backward(dy):
        dx = ...  # your turn, shape (M, C)
        dweight = ...  # your turn, shape (C, F)
        return dx, dweight

    return y, backward
