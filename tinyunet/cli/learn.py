"""``tinyunet learn``: the course, its checks and its hints."""

from pathlib import Path

from tinyunet.course import session


def add_learn_options(add) -> None:
    """Describe ``tinyunet learn``."""
    add("folder", metavar="DIR", help="folder of the exercises; made by the first call")
    add("--hint", action="store_true", help="give one more hint for the exercise you are at")
    add("--watch", action="store_true", help="check again whenever you save a file (Ctrl-C ends)")
    add("--json", action="store_true", help="print what was found as JSON, for a teacher's script")
    add(
        "--with",
        dest="with_names",
        metavar="NAMES",
        help="train the U-Net with these operations of yours (relu,conv2d or all), tinyunet's for "
        "the rest",
    )


def run_learn(options) -> int:
    """Make the folder of exercises, or check what was written there; status 1 if some is wrong."""
    return session.visit(
        Path(options.folder),
        wants_hint=options.hint,
        watching=options.watch,
        json=options.json,
        names=options.with_names,
    )
