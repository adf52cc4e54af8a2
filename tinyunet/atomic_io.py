"""Files that appear in one go: written under another name first, then renamed.

Renaming is a single act of the file system. Whoever looks, at whatever moment, sees the old state
or the new one; an error leaves nothing behind, and a process that is killed half-way leaves at most
something unfinished beside it, ``NAME.partial``, which the next attempt replaces.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from tinyunet.errors import UserError


@contextlib.contextmanager
def written_aside(path: str | Path, on_disk: bool = False) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` only once it is complete.

    Use it as ``with written_aside(path) as file:``, and write into `file`.

    Parameters
    ----------
    path : path
        The file to write; its folder must exist. Until the block ends well, it stays as it was.
    on_disk : bool
        Wait until the bytes are on the disk before renaming. That takes a few milliseconds, and
        keeps the promise even when the power fails: for what cannot be made again.

    Raises
    ------
    UserError
        If the file can't be written: no such folder, no permission, no space left.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        # A file of our own: what a killed process left goes, and a link there is not followed.
        partial.unlink(missing_ok=True)
        with open(partial, "x+b") as file:
            yield file
            if on_disk:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
        if on_disk:
            sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def sync_folder(folder: Path) -> None:
    """Make a renaming in `folder` survive a power cut, where the system can promise that."""
    with contextlib.suppress(OSError):  # Windows cannot open a folder, and needs no such call
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save_text(text: str, path: str | Path) -> None:
    """Write a text file (UTF-8) in one go; the folder must exist.

    Raises
    ------
    UserError
        If it cannot be written there.
    """
    with written_aside(path) as file:
        file.write(text.encode())


def make_folder(path: str | Path) -> Path:
    """Make a folder, and those above it, unless it is there already; returns its path.

    Raises
    ------
    UserError
        If it cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror or error}") from error
    return path


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
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        if target.exists() and not target.is_dir():
            raise UserError(f"{path}: is a file, but a folder is needed for the results")
        if target.exists() and any(target.iterdir()):
            raise UserError(
                f"{path}: is not empty; results are not mixed with older files: choose a new "
                "folder, or empty this one"
            )
        partial.mkdir(parents=True)
        try:
            yield partial
            if target.exists():
                target.rmdir()  # it is empty; not every system renames onto a folder
            os.replace(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def save_picture(picture: Image.Image | np.ndarray, path: str | Path, **options) -> None:
    """Save a picture in one go: under another name first, then renamed.

    Whoever looks at the file sees the old picture or the new one, never half of one.

    Parameters
    ----------
    picture : PIL.Image.Image, or array as Pillow takes it
    path : path
        Its ending chooses the format. The folder must exist.
    **options
        For Pillow, such as ``compression="tiff_deflate"``.

    Raises
    ------
    UserError
        If it cannot be written there, or Pillow does not know the ending.
    """
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    ending = Path(path).suffix.lower()
    if ending not in Image.registered_extensions():
        raise UserError(f"cannot write {path}: no picture ends in {ending!r}: choose .png or .tif")
    with written_aside(path) as file:
        picture.save(file, Image.registered_extensions()[ending], **options)
