"""The error that is for people: what they gave does not fit, and one line says what to do."""

import contextlib
import importlib
from collections.abc import Iterator


class UserError(ValueError):
    """A mistake in what a person gave: the command line prints it as one line and exits with 2.

    Every other exception that leaves tinyunet is a fault of ours and keeps its traceback.
    """


@contextlib.contextmanager
def problems_named(path, what: str) -> Iterator[None]:
    """Turn whatever goes wrong with the content of a file into a `UserError` that names the file.

    A broken file can surface in any library as any kind of exception. Only running out of memory is
    not the file's fault.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, UserError) and str(path) in str(error):
            raise
        cause = error.__cause__ or error  # rasterio hides what GDAL said
        reason = getattr(cause, "strerror", None) or str(cause).strip() or type(cause).__name__
        raise UserError(f"{path}: {what} ({reason.splitlines()[0]})") from error


def import_extra(extra: str, *names: str, what: str = "this") -> list:
    """Import modules that come with an extra, or say what needs them and how to get them."""
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        package = names[0].partition(".")[0]
        raise UserError(f"{what} needs {package}: pip install 'tinyunet[{extra}]'") from error
