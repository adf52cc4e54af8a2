"""The Python side of the lab: the exercises of `tinyunet learn`, checked in the reader's browser.

The page calls a function by name, with an argument and for a result in JSON. The folder lives as
long as the page; what was written is kept by the page, which hands it over at the start.
"""

import base64
import io
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType

if sys.platform == "emscripten":
    # In a browser there is no other process, so nothing to lock a file against.
    sys.modules["fcntl"] = ModuleType("fcntl")
    sys.modules["fcntl"].__dict__.update(LOCK_EX=2, LOCK_NB=4, LOCK_UN=8, flock=lambda *_: None)

from tinyunet.course import folder as course

FOLDER = Path("mycourse")


def by_name(name):
    """Find an exercise."""
    return next(one for one in course.EXERCISES if one.name == name)


def start(argument):
    """Make the folder, put back what was written before; lists the exercises."""
    kept = json.loads(argument)
    course.make_folder(FOLDER)
    course.write_progress(FOLDER, kept["hints"])
    exercises = []
    for exercise in course.EXERCISES:
        path = course.path_of(FOLDER, exercise)
        original = (course.TEMPLATES / f"e{exercise.name}.py").read_text(encoding="utf-8")
        path.write_text(kept["files"].get(exercise.name, original), encoding="utf-8")
        given = exercise.hints[: kept["hints"].get(exercise.name, 0)]
        exercises.append(
            {
                "name": exercise.name,
                "title": exercise.title,
                "page": Path(exercise.chapter).stem + ".html",
                "original": original,
                "hints": given,
            }
        )
    return json.dumps(exercises)


def check(argument):
    """Check what was written for one exercise, as `tinyunet learn` does."""
    wanted = json.loads(argument)
    exercise = by_name(wanted["name"])
    course.path_of(FOLDER, exercise).write_text(wanted["text"], encoding="utf-8")
    finding = course.check_exercise(FOLDER, exercise)
    return json.dumps({"state": finding.state, "message": finding.message})


def hint(argument):
    """Give the next hint for one exercise, or null after the last."""
    _, text = course.next_hint(FOLDER, by_name(json.loads(argument)["name"]))
    return json.dumps(text)


def bundle(argument):
    """Pack the folder, as `tinyunet learn` takes it, into a zip file in base64."""
    for name, text in json.loads(argument)["files"].items():
        course.path_of(FOLDER, by_name(name)).write_text(text, encoding="utf-8")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(FOLDER.iterdir()):
            archive.write(path, f"{FOLDER.name}/{path.name}")
    return json.dumps(base64.b64encode(packed.getvalue()).decode())
