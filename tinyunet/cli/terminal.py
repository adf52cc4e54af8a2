"""Standard output and standard error: no trouble with them may end a long computation."""

import io
from typing import Any


class Stream:
    """Stands for a text stream and never raises an error, whatever happens to it.

    What it can't encode is escaped. When it can't be written to any more, since the disk is full or
    the reader is gone, all further text is dropped.

    Attributes
    ----------
    error : OSError or None
        Why it could not be written to.
    """

    def __init__(self, stream) -> None:
        self.stream = stream
        self.error: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        self._attempt("write", text)
        return len(text)

    def flush(self) -> None:
        """Hand on what is still in the stream's buffer."""
        self._attempt("flush")

    def _attempt(self, method: str, *arguments) -> None:
        if self.stream is not None and self.error is None:  # None: there is none, as in a service
            try:
                getattr(self.stream, method)(*arguments)
            except OSError as error:
                self.error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
