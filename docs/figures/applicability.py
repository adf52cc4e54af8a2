"""Figures of the chapter on where a map can be trusted."""

import functools
import types

import numpy as np
from figure_style import bare, demo, is_narrow, measured, panels, percent
from PIL import Image

from tinyunet.plots.pictures import marked


@functools.cache
def looked_at(quick):
    """Train the demo's network, and give what it finds in each place."""
    applicability = demo("applicability")
    options = types.SimpleNamespace(seed=0, scenes=2 if quick else 40, steps=2 if quick else 500)
    model = applicability.train(options)
    return [applicability.look(model, *place) for place in applicability.places(seed=1000)]


def applicability_places(quick):
    """Show four images, in each what lies outside of the area of applicability, and the errors."""
    found = looked_at(quick)
    # One place a row on a narrow page, one a column on a wide one
    figure, axes = panels(4, 3, height=7.3) if is_narrow() else panels(3, 4, height=6.9)
    figure.get_layout_engine().set(w_pad=0.01, wspace=0.01)
    for of_one, place in zip(axes if is_narrow() else axes.T, found, strict=True):
        coarse = place.image // 32 * 32  # few grays, and half a photograph: small files
        photo = np.array(Image.fromarray(place.image).resize((128, 128), Image.Resampling.BOX))
        pictures = (photo, marked(coarse, place.outside), marked(coarse, place.wrong))
        for panel, pixels in zip(of_one, pictures, strict=True):
            panel.imshow(pixels, interpolation="none")
        bare(of_one[0])
        of_one[0].set_title(place.title, fontsize=11)
        bare(of_one[1], "", f"{percent(place.outside.mean())} outside")
        bare(of_one[2], "", f"{percent(place.wrong.mean())} wrong")
    (new, *strange) = found
    said = {"a new scene": f"{percent(new.outside.mean())} lies outside"}
    for name, verb in (("outside", "does"), ("wrong", "is wrong")):
        shares = sorted(getattr(place, name).mean() for place in strange)
        said[f"the others, {name}"] = f"{100 * shares[0]:.0f} to {percent(shares[-1])} {verb}"
    return measured(figure, said)


FIGURES = {"applicability_places": applicability_places}
