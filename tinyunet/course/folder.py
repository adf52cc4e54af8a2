"""A student's folder: the files of the exercises, what was found in them, and the hints given."""

import json
import shutil
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tinyunet.atomic_io import save_text
from tinyunet.course.checks import NotWritten, Wrong
from tinyunet.course.syllabus import EXERCISES, Exercise
from tinyunet.errors import UserError

TEMPLATES = Path(__file__).parent / "exercises"
PROGRESS = "progress.json"
RIGHT, WRONG, TO_DO = "right", "wrong", "to do"


@dataclass(frozen=True)
class Finding:
    """What was found in one file.

    Attributes
    ----------
    exercise : Exercise
    state : str
        RIGHT, WRONG or TO_DO.
    message : str
        What is wrong, or empty.
    """

    exercise: Exercise
    state: str
    message: str = ""


def make_folder(folder: Path) -> bool:
    """Copy every exercise that is missing into a folder; returns whether there was none before.

    Raises
    ------
    UserError
        If the path is a file, or a folder that holds other things and no course.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder for the course")
    is_new = not (folder / PROGRESS).exists()
    if is_new and folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} holds other files and no course: give a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    for exercise in EXERCISES:
        if not path_of(folder, exercise).exists():
            shutil.copyfile(TEMPLATES / f"e{exercise.name}.py", path_of(folder, exercise))
    if is_new:
        write_progress(folder, {})
    return is_new


def path_of(folder: Path, exercise: Exercise) -> Path:
    """Give the file of an exercise."""
    return folder / f"{exercise.name}.py"


def check_folder(folder: Path) -> list[Finding]:
    """Check every exercise of a folder, in order."""
    return [check_exercise(folder, exercise) for exercise in EXERCISES]


def check_exercise(folder: Path, exercise: Exercise) -> Finding:
    """Check one file."""
    path = path_of(folder, exercise)
    try:
        exercise.check(load(path))
    except NotWritten:
        return Finding(exercise, TO_DO)
    except Wrong as wrong:
        return Finding(exercise, WRONG, str(wrong))
    except (Exception, SystemExit) as error:  # whatever a student's code can raise
        return Finding(exercise, WRONG, where(error, path))
    return Finding(exercise, RIGHT)


def load(path: Path) -> ModuleType:
    """Run a student's file and give its names.

    Raises
    ------
    Wrong
        If there is no such file.
    """
    if not path.exists():
        raise Wrong(f"{path.name} is missing; run this again for a new one.")
    # Compiled anew each time: a file that was saved twice within a second is read twice.
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
    return module


def where(error: BaseException, path: Path) -> str:
    """Say where in a student's file an error came up, and which."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
    what = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    return f"line {lines[-1]} stops with {what}" if lines else what


def first_open(findings: list[Finding]) -> Finding | None:
    """Give the first exercise that is not right, or None."""
    return next((finding for finding in findings if finding.state != RIGHT), None)


# -- Hints -----------------------------------------------------------------------------------------


def read_progress(folder: Path) -> dict[str, int]:
    """Read how many hints were given for each exercise."""
    try:
        return json.loads((folder / PROGRESS).read_text(encoding="utf-8"))["hints"]
    except (OSError, ValueError, KeyError):
        return {}


def write_progress(folder: Path, hints: dict[str, int], findings: list[Finding] = ()) -> None:
    """Note the hints given, and which exercises are right."""
    right = [finding.exercise.name for finding in findings if finding.state == RIGHT]
    text = json.dumps({"hints": hints, "right": right}, indent=2)
    save_text(text, folder / PROGRESS)


def next_hint(folder: Path, exercise: Exercise) -> tuple[int, str | None]:
    """Give the number and the text of the next hint, or None after the last one."""
    hints = read_progress(folder)
    given = hints.get(exercise.name, 0)
    if given >= len(exercise.hints):
        return given, None
    hints[exercise.name] = given + 1
    write_progress(folder, hints)
    return given + 1, exercise.hints[given]


def as_json(folder: Path, findings: list[Finding]) -> str:
    """Write all findings for a teacher's script."""
    hints = read_progress(folder)
    return json.dumps(
        {
            "right": sum(finding.state == RIGHT for finding in findings),
            "exercises": [
                {
                    "name": finding.exercise.name,
                    "state": finding.state,
                    "message": finding.message,
                    "hints": hints.get(finding.exercise.name, 0),
                }
                for finding in findings
            ],
        },
        indent=2,
    )
