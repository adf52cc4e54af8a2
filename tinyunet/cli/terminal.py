"""Who is looking."""

import sys


def on_terminal() -> bool:
    """Tell whether a person is watching, who wants to see a progress bar."""
    return sys.stderr.isatty()
