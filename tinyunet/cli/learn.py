"""``tinyunet learn``: the course, its checks and its hints."""

from pathlib import Path

from tinyunet.course import session


def add_learn_options(add) -> None:
    """Describe ``tinyunet learn``."""
    add("folder", metavar="DIR", help="Folder of the exercises; the first call makes it.")
    add("--hint", action="store_true", help="Give one more hint for the exercise you are at.")
    add("--watch", action="store_true", help="Check again whenever you save a file (Ctrl-C ends).")
    add("--json", action="store_true", help="Print the findings as JSON, for a teacher's script.")
    names = "Train the U-Net with these operations of yours, such as relu,conv2d, or all."
    add("--with", dest="with_names", metavar="NAMES", help=names)


def run_learn(options) -> int:
    """Make the folder of exercises, or check what was written there; status 1 if some is wrong."""
    return session.visit(
        Path(options.folder),
        wants_hint=options.hint,
        watching=options.watch,
        json=options.json,
        names=options.with_names,
    )
