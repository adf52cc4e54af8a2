"""Files and folders that appear in one go: made in a hidden folder first, then renamed.

Renaming is a single act of the file system. Whoever looks, at whatever moment, sees the old state
or the new one. No two writers share the hidden folder, and an error removes it with all that is in
it. A process that is killed leaves it behind, ``.tinyunet-*.folder``, and the next one that writes
beside it removes it. It knows the dead from the living by a lock on ``.tinyunet-*.partial``, which
the operating system releases when a process ends.
"""

import contextlib
import functools
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from tinyunet.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None


# -- Locks -----------------------------------------------------------------------------------------


def lock(file) -> bool | None:
    """Lock an open file until it is closed or the process ends, by whatever death.

    Returns
    -------
    bool or None
        False if another process has locked it, None if the file system has no locks.
    """
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


@contextlib.contextmanager
def sole_writer(folder: str | Path) -> Iterator[None]:
    """Make sure that no other process writes into a folder, where the file system has locks.

    Use it as ``with sole_writer(folder):``. A file ``.lock`` is there meanwhile. The folder is made
    if there is none, and removed if it is still empty at the end.

    Raises
    ------
    UserError
        If another process does.
    """
    is_new, path = not os.path.exists(folder), make_folder(folder) / ".lock"
    with open(path, "ab") as file:
        if lock(file) is False:
            raise UserError(
                f"another process is writing into {folder}: wait until it ends, or choose another "
                "folder"
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows removes no open file; it may stay
                path.unlink()
                if is_new:
                    path.parent.rmdir()


# -- In a hidden folder first ----------------------------------------------------------------------


@contextlib.contextmanager
def aside(path: str | Path, on_disk: bool = False) -> Iterator[Path]:
    """Give another path for a file or folder, which takes the place of `path` once it is complete.

    Use it as ``with aside(path) as partial:``, and write to `partial`, by whatever library. What
    else is left beside `partial` is removed.

    Parameters
    ----------
    path : path
        What is to be made; its folder must exist. Until the block ends well, it stays as it was.
    on_disk : bool
        Wait until the bytes and the new name are on the disk. That takes a few milliseconds, and
        keeps the promise even when the power fails: for what cannot be made again.

    Raises
    ------
    UserError
        If it can't be written: no such folder, no permission, no space left.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():  # a device, a pipe
        raise UserError(f"cannot write {path}: it is there and no ordinary file")
    remove_leftovers(Path(os.path.abspath(path.parent)))
    marker_path = path.parent / f".tinyunet-{uuid.uuid4().hex}.partial"
    hidden = marker_path.with_suffix(".folder")
    try:
        with open(marker_path, "xb") as marker:
            lock(marker)
            try:
                hidden.mkdir()
                yield hidden / path.name
                if on_disk:
                    sync(hidden / path.name)
                os.replace(hidden / path.name, path)
                if on_disk and os.name != "nt":  # there a folder can't be opened
                    sync(path.parent)
            finally:
                shutil.rmtree(hidden, ignore_errors=True)
                marker.close()  # Windows removes no open file
                marker_path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def sync(path: Path) -> None:
    """Wait until what a file or a folder holds is on the disk."""
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@functools.cache
def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder; this process looks only once."""
    for path in folder.glob(".tinyunet-*.partial"):
        with contextlib.suppress(OSError), open(path, "r+b") as marker:
            if lock(marker):
                shutil.rmtree(path.with_suffix(".folder"), ignore_errors=True)
                marker.close()
                path.unlink()


@contextlib.contextmanager
def written_aside(path: str | Path, on_disk: bool = False) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` only once it is complete: see `aside`."""
    with aside(path, on_disk) as partial, open(partial, "w+b") as file:
        yield file


def save_text(text: str, path: str | Path) -> None:
    """Write a text file (UTF-8) in one go; the folder must exist. What is no Unicode is escaped.

    Raises
    ------
    UserError
        If it cannot be written there.
    """
    with written_aside(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def make_folder(path: str | Path) -> Path:
    """Make a folder, and those above it, unless it is there already; returns its path."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
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
    target = Path(os.path.realpath(path))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{path} is not empty, or no folder: choose a new one for the results")
    make_folder(target.parent)
    with aside(target) as folder:
        folder.mkdir()
        yield folder
        if target.exists():
            target.rmdir()  # it is empty; not every system renames onto a folder


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
        If it cannot be written there.
    """
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    with aside(path) as partial:
        picture.save(partial, **options)
