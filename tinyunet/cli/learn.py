"""``tinyunet learn``: the course, its checks and its hints."""

from pathlib import Path
from typing import Annotated

from tinyunet.course import session


def run_learn(
    folder: Annotated[str, "DIR"],
    *,
    hint: bool = False,
    watch: bool = False,
    json: bool = False,
    with_: Annotated[str | None, "NAMES"] = None,
) -> int:
    """Learn backpropagation by writing it.

    Parameters
    ----------
    folder : str
        Folder of the exercises; the first call makes it.
    hint : bool
        Give one more hint for the exercise you are at.
    watch : bool
        Check again whenever you save a file (Ctrl-C ends).
    json : bool
        Print the findings as JSON, for a teacher's script.
    with_ : str, optional
        Train the U-Net with these operations of yours, such as relu,conv2d, or all.

    Returns
    -------
    int
        1 if an answer is wrong, else 0.
    """
    options = {"wants_hint": hint, "watching": watch, "json": json, "names": with_}
    return session.visit(Path(folder), **options)
