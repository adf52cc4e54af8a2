"""Results that appear in one go: written under another name first, then renamed.

Renaming is a single act of the file system. Whoever looks, at whatever moment, sees the old state
or the new one; a run that is killed half-way leaves at most something hidden beside it.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tinyunet.errors import UserError


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Fill a folder beside its place, and move it there once it is complete.

    Use it as ``with new_folder(out) as folder:`` and write into `folder`. If the block ends with
    an exception, `folder` is removed and nothing appears at `path`.

    Raises
    ------
    UserError
        If there is something at `path` other than an empty folder, or it cannot be written there.
    """
    target = Path(path).resolve()
    try:
        if target.exists() and not target.is_dir():
            raise UserError(f"{path}: is a file, but a folder is needed for the results")
        if target.exists() and any(target.iterdir()):
            raise UserError(
                f"{path}: is not empty; results are not mixed with older files: choose a new "
                "folder, or empty this one"
            )
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        aside.mkdir(parents=True)
        try:
            yield aside
            if target.exists():
                target.rmdir()  # it is empty; not every system renames onto a folder
            os.replace(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def save_text(text: str, path: str | Path) -> None:
    """Write a text file (UTF-8) in one go; the folder must exist.

    Raises
    ------
    UserError
        If it cannot be written there.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
