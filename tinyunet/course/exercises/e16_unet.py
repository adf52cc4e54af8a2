"""The U-Net: all that you have written, wired up.

THE IDEA. Down, the image shrinks twice, to see what is there. Up, it grows twice, to say where.
The skips carry the details across.

    x -> encoder0 -+--------------- skip0 ---------------> concat0 -> decoder0 -> head -> logits
                   |                                          ^
                 pool0                                       up0
                   |                                          |
               encoder1 -+------ skip1 ------> concat1 -> decoder1
                         |                        ^
                       pool1                     up1
                         |                        |
                         +----> bottleneck -------+

FORWARD. `steps` is a dict of operations by these names. Each takes an array (concat0 and
concat1 take two, the skip first) and returns (result, backward), as yours do.

BACKWARD. The same picture, walked against the arrows, last step first. Each backward is called
once, with the gradient of what that step gave. The backward of a concat returns two gradients,
(dskip, dx). And where an arrow forked off on the way (exercise 14), two gradients meet.

When this is right, your operations train your U-Net: `tinyunet learn` shows you what it sees.
"""


def unet(x, steps):
    """Send images down the U and up again; returns the logits and backward."""
    skip0, encoder0_backward = steps["encoder0"](x)
    y, pool0_backward = steps["pool0"](skip0)
    skip1, encoder1_backward = steps["encoder1"](y)
    y, pool1_backward = steps["pool1"](skip1)
    y, bottleneck_backward = steps["bottleneck"](y)
    y, up1_backward = steps["up1"](y)
    y, concat1_backward = steps["concat1"](skip1, y)
    y, decoder1_backward = steps["decoder1"](y)
    y, up0_backward = steps["up0"](y)
    y, concat0_backward = steps["concat0"](skip0, y)
    y, decoder0_backward = steps["decoder0"](y)
    logits, head_backward = steps["head"](y)

    def backward(dlogits):
        dy = head_backward(dlogits)
        dy = decoder0_backward(dy)
        dx = ...  # your turn: go on from here, down to encoder0
        return dx

    return logits, backward
