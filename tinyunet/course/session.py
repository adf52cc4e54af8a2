"""What `tinyunet learn` says and does: the first call, the list, a hint, the training."""

import shutil
import sys
import textwrap
import time
from pathlib import Path
from typing import Annotated

from tinyunet.atomic_io import save_picture
from tinyunet.course import finale
from tinyunet.course.folder import (
    RIGHT,
    WRONG,
    Finding,
    as_json,
    check_folder,
    first_open,
    load,
    make_folder,
    next_hint,
    path_of,
    read_progress,
    write_progress,
)
from tinyunet.course.syllabus import EXERCISES
from tinyunet.errors import UserError

PICTURE = "unet.png"


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
    place = Path(folder)
    if make_folder(place) and not json:
        print(welcome(place))
        return 0
    findings = check_folder(place)
    write_progress(place, read_progress(place), findings)
    if json:
        print(as_json(place, findings))
    elif hint:
        print(next_advice(place, findings))
        return 0
    elif with_:
        train(place, findings, with_)
        return 0
    else:
        show(place, findings)
        while watch:
            findings = wait_and_check(place)
            show(place, findings)
    return 1 if any(finding.state == WRONG for finding in findings) else 0


def welcome(folder: Path) -> str:
    """Say what to do with a new folder."""
    return (
        f"{folder} now holds {len(EXERCISES)} exercises, one file each. In every one forward works,"
        "\nand its backward is yours to write. At the end your own operations train a U-Net.\n\n"
        f"Open {path_of(folder, EXERCISES[0])}, write what stands for the three dots, save, and run"
        f"\n\n    {command()} learn {folder}\n\n"
        "again: it says what is right, what is wrong, and in what way.\n"
        "With --watch it does so whenever you save."
    )


def command() -> str:
    """Give what to type to run tinyunet again: its path, where the shell does not find it."""
    if shutil.which("tinyunet"):
        return "tinyunet"
    return sys.argv[0] if Path(sys.argv[0]).name == "tinyunet" else f"{sys.executable} -m tinyunet"


def show(folder: Path, findings: list[Finding]) -> None:
    """Print the list of exercises, and what is to be said to the first that is not right."""
    current = first_open(findings)
    for finding in findings:
        here = "  <-" if finding is current else ""
        number, _ = finding.exercise.name.split("_", 1)
        print(f"{number}  {finding.exercise.title:36} {finding.state}{here}")
    print()
    if current is None:
        print(f"All {len(findings)} exercises are right.")
        if not (folder / PICTURE).exists():
            train(folder, findings, "all")
        return
    name = f"{current.exercise.name}.py"
    if current.state == WRONG:
        print(f"{name}:\n{current.message}")
        print(f"\nA hint: {command()} learn {folder} --hint\nTo read: {current.exercise.chapter}")
        print(f"Next: {name}, once more")
    else:
        print(f"Next: {name} ({current.exercise.title}). To read: {current.exercise.chapter}")


def next_advice(folder: Path, findings: list[Finding]) -> str:
    """Give one more hint."""
    current = first_open(findings)
    if current is None:
        return "Every exercise is right: there is nothing left to hint at."
    number, text = next_hint(folder, current.exercise)
    name, most = f"{current.exercise.name}.py", len(current.exercise.hints)
    if text is None:
        return f"{name}: there are no more hints. Read {current.exercise.chapter}."
    return "\n".join(textwrap.wrap(f"{name}. Hint {number} of {most}: {text}", 96))


def wait_and_check(folder: Path) -> list[Finding]:
    """Wait until a file is saved, then check again."""
    sys.stdout.flush()

    def saved():
        return {
            e.name: p.stat().st_mtime_ns for e in EXERCISES if (p := path_of(folder, e)).exists()
        }

    before = saved()
    while saved() == before:
        time.sleep(0.5)
    print("-" * 60)
    return check_folder(folder)


def train(folder: Path, findings: list[Finding], names: str) -> None:
    """Train the U-Net with a student's operations, and leave the picture in the folder.

    Raises
    ------
    UserError
        If a name is none of an operation, or the exercise of one is not right yet.
    """
    offered = {name: finding for finding in findings for name in finding.exercise.offers}
    chosen = names.split(",")
    if names == "all":
        chosen = [name for name, finding in offered.items() if finding.state == RIGHT]
    mine = {}
    for name in chosen:
        if name not in offered:
            raise UserError(f"--with {name}: choose from {', '.join(offered)}, or all")
        exercise = offered[name].exercise
        if offered[name].state != RIGHT:
            raise UserError(f"--with {name}: {exercise.name}.py is not right yet")
        mine[name] = getattr(load(path_of(folder, exercise)), name)
    yours = " and ".join(filter(None, [", ".join(chosen[:-1]), *chosen[-1:]]))
    print(f"A U-Net trains on painted scenes. {yours or 'None of its operations'}", end=" ")
    print("is yours." if len(chosen) < 2 else "are yours.")
    picture = finale.train_and_draw(mine, finale.STEPS)
    save_picture(picture, folder / PICTURE)
    print(f"{folder / PICTURE}: from left to right the photograph, the truth, and what it found.")
