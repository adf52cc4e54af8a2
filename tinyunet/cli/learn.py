"""``tinyunet learn``: the course, its checks and its hints."""

from pathlib import Path

from tinyunet.course import session


def run_learn(options) -> int:
    """Make the folder of exercises, or check what was written there; status 1 if some is wrong."""
    return session.visit(
        Path(options.folder),
        wants_hint=options.hint,
        watching=options.watch,
        json=options.json,
        names=options.with_names,
    )
