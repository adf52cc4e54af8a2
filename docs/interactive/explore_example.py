"""One page of ``demos/explore.py``, ready made for the book.

It shows the small network that also answers "How many trees make an orchard?" (its weights lie in
``orchard_weights.js``) and a painted scene that it has not seen.
"""

import sys
from pathlib import Path

from threadpoolctl import threadpool_limits

HERE = Path(__file__).resolve().parent
SIZE, SEED, MAPS = 192, 12, 6


def example_page():
    """Run the network on the scene, and give the page as HTML."""
    sys.path += [str(HERE), str(HERE.parent.parent / "demos")]
    import explore
    import train_orchard
    from parts.feature_levels import view
    from parts.influence import typical_half_side
    from parts.model_and_image import Given, describe_part

    from tinyunet.checkpoint import Model
    from tinyunet.data.scenes import paint_scene

    network, standardization, header = train_orchard.read()
    model = Model(network, standardization, header["classNames"])
    image, truth = paint_scene((SIZE, SIZE), seed=SEED)
    given = Given(model, "the network that counts trees", image, "a painted scene", truth)
    with threadpool_limits(1):
        seen = view(model, image, SIZE)
        half = typical_half_side(model, image)
    page = explore.contents(seen, given, half, describe_part(given, seen, SIZE), MAPS)
    return explore.fill(explore.TEMPLATE.read_text(encoding="utf-8"), page)
