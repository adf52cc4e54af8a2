"""The course: answers are accepted, mistakes are named, and the U-Net at the end is right."""

import ast
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from tests.course_answers import ANSWERS, WRONG, solve, spoil
from tinyunet.cli.main import main
from tinyunet.course import session
from tinyunet.course.checks import UNET_STEPS
from tinyunet.course.finale import train_and_draw
from tinyunet.course.folder import (
    RIGHT,
    TEMPLATES,
    TO_DO,
    check_exercise,
    check_folder,
    load,
    make_folder,
    path_of,
)
from tinyunet.course.folder import (
    WRONG as IS_WRONG,
)
from tinyunet.course.syllabus import EXERCISES
from tinyunet.data.scenes import CLASS_COLORS

BY_NAME = {exercise.name: exercise for exercise in EXERCISES}


def template(name):
    """Read an exercise as a student gets it."""
    return (TEMPLATES / f"e{name}.py").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """Give a fresh folder of exercises."""
    make_folder(tmp_path / "course")
    return tmp_path / "course"


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """Give a folder in which every exercise is solved."""
    folder = tmp_path_factory.mktemp("solved") / "course"
    make_folder(folder)
    for exercise in EXERCISES:
        path_of(folder, exercise).write_text(solve(exercise.name, template(exercise.name)))
    return folder


def learn(*arguments):
    """Run `tinyunet learn`."""
    return main(["learn", *map(str, arguments)])


def test_a_fresh_folder_has_every_exercise_to_do_and_no_answer(folder):
    findings = check_folder(folder)
    assert [finding.state for finding in findings] == [TO_DO] * len(EXERCISES) == [TO_DO] * 16
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{exercise.name}.py" for exercise in EXERCISES] + ["progress.json"]
    )


@pytest.mark.parametrize("name", BY_NAME)
def test_an_exercise_has_its_idea_its_formula_and_something_to_write(name):
    text = template(name)
    doc = ast.get_docstring(ast.parse(text))
    assert "THE IDEA." in doc
    if name != "15_optimizers":
        assert "FORWARD" in doc and "BACKWARD" in doc
    assert text.count("your turn") >= 1
    assert "import tinyunet" not in text and "from tinyunet" not in text
    exercise = BY_NAME[name]
    assert 2 <= len(exercise.hints) <= 4
    assert (TEMPLATES.parent.parent.parent / exercise.chapter).exists()


def test_every_answer_is_accepted(solved):
    for finding in check_folder(solved):
        assert (finding.state, finding.message) == (RIGHT, "")


@pytest.mark.parametrize(
    ("name", "old", "new", "says"), WRONG, ids=[f"{w[0]}-{k}" for k, w in enumerate(WRONG)]
)
def test_a_wrong_answer_is_named(folder, name, old, new, says):
    exercise = BY_NAME[name]
    path_of(folder, exercise).write_text(spoil(name, template(name), old, new))
    finding = check_exercise(folder, exercise)
    assert finding.state == IS_WRONG
    assert says in " ".join(finding.message.split())
    assert len(finding.message.splitlines()) <= 7


def test_every_exercise_has_three_wrong_answers_or_more():
    for name in BY_NAME:
        assert sum(wrong[0] == name for wrong in WRONG) >= 3
    assert ANSWERS.keys() == BY_NAME.keys()


def test_a_changed_forward_is_noticed(folder):
    exercise = BY_NAME["01_relu"]
    text = template(exercise.name).replace("np.maximum(x, 0)", "np.maximum(x, 1)")
    path_of(folder, exercise).write_text(text)
    assert "forward no longer gives what it gave" in check_exercise(folder, exercise).message


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("dx = ...  # your turn: of dy, what passes?", "dx = dy * (y > 0", "SyntaxError"),
        (
            "dx = ...  # your turn: of dy, what passes?",
            "dx = dy.foo",
            "line 27 stops with AttributeError",
        ),
        ("        return dx\n", "        pass\n", "returns nothing: end it with `return dx`"),
        ("        return dx\n", "        return [dy]\n", "backward returns a list of 1"),
        ("import numpy as np", "import sys\nsys.exit()", "stops with SystemExit"),
        ("    return y, backward", "    return y", "forward returns an array of shape (3, 4)"),
        ("def relu", "def rellu", "has no attribute 'relu'"),
    ],
)
def test_what_does_not_run_is_explained(folder, old, new, says):
    exercise = BY_NAME["01_relu"]
    text = template(exercise.name)
    assert old in text
    path_of(folder, exercise).write_text(text.replace(old, new))
    finding = check_exercise(folder, exercise)
    assert finding.state == IS_WRONG
    assert says in finding.message


def test_an_exercise_half_written_is_still_to_do(folder):
    exercise = BY_NAME["02_bias"]
    text = template(exercise.name).replace("dx = ...", "dx = dy")
    path_of(folder, exercise).write_text(text)
    assert check_exercise(folder, exercise).state == TO_DO


# -- The command -----------------------------------------------------------------------------------


def test_the_first_call_makes_the_folder_and_says_what_to_do(tmp_path, capsys):
    assert learn(tmp_path / "course") == 0
    text = capsys.readouterr().out
    assert "16 exercises" in text and "01_relu.py" in text
    assert (tmp_path / "course" / "01_relu.py").exists()


def test_later_calls_tell_what_is_right_and_what_is_next(folder, capsys):
    path_of(folder, EXERCISES[0]).write_text(solve("01_relu", template("01_relu")))
    assert learn(folder) == 0
    text = capsys.readouterr().out
    assert "01  ReLU" in text and "right" in text
    assert "Next: 02_bias.py" in text and "docs/notation.md" in text


def test_a_wrong_answer_is_explained_and_the_status_says_so(folder, capsys):
    path_of(folder, EXERCISES[0]).write_text(
        spoil("01_relu", template("01_relu"), "(x > 0)", "(x < 0)")
    )
    assert learn(folder) == 1
    text = capsys.readouterr().out
    assert "01_relu.py:\ndx is wrong" in text
    assert "--hint" in text


def test_hints_come_one_at_a_time_and_are_remembered(folder, capsys):
    hints = EXERCISES[0].hints
    for number, hint in enumerate(hints, start=1):
        assert learn(folder, "--hint") == 0
        text = " ".join(capsys.readouterr().out.split())
        assert " ".join(hint.split()) in text
        assert f"Hint {number} of {len(hints)}" in text
    learn(folder, "--hint")
    assert "no more hints" in capsys.readouterr().out
    assert json.loads((folder / "progress.json").read_text())["hints"] == {"01_relu": len(hints)}


def test_a_teacher_gets_json(folder, capsys):
    path_of(folder, EXERCISES[0]).write_text(solve("01_relu", template("01_relu")))
    path_of(folder, EXERCISES[1]).write_text(
        spoil("02_bias", template("02_bias"), "dy.sum", "dy.mean")
    )
    assert learn(folder, "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert result["right"] == 1
    states = [exercise["state"] for exercise in result["exercises"]]
    assert states == [RIGHT, IS_WRONG] + [TO_DO] * 14
    assert "mean where the sum belongs" in " ".join(result["exercises"][1]["message"].split())


def test_a_folder_of_other_things_is_refused(tmp_path, capsys):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    assert learn(tmp_path) == 2
    assert "holds other files" in capsys.readouterr().err
    assert learn(tmp_path / "holiday.jpg") == 2


def test_a_lost_file_comes_back_empty(folder):
    path_of(folder, EXERCISES[3]).unlink()
    make_folder(folder)
    assert path_of(folder, EXERCISES[3]).read_text() == template(EXERCISES[3].name)


@pytest.mark.parametrize(
    ("on_the_path", "typed", "said"),
    [
        ("/usr/bin/tinyunet", "/usr/bin/tinyunet", "tinyunet learn"),
        (None, ".venv/bin/tinyunet", ".venv/bin/tinyunet learn"),
        (None, "tinyunet/__main__.py", f"{sys.executable} -m tinyunet learn"),
    ],
)
def test_what_to_type_next_is_found_by_the_shell(monkeypatch, tmp_path, on_the_path, typed, said):
    monkeypatch.setattr(shutil, "which", lambda name: on_the_path)
    monkeypatch.setattr(sys, "argv", [typed])
    assert f"    {said} {tmp_path}" in session.welcome(tmp_path)


def test_watching_checks_again_when_a_file_is_saved(folder, capsys, monkeypatch):
    rounds = []

    def sleep(seconds):
        rounds.append(seconds)
        if len(rounds) == 2:
            path_of(folder, EXERCISES[0]).write_text(solve("01_relu", template("01_relu")))
        if len(rounds) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("tinyunet.course.session.time.sleep", sleep)
    assert learn(folder, "--watch") == 130
    assert capsys.readouterr().out.count("Next: ") == 2


# -- The end ---------------------------------------------------------------------------------------


def functions_of(folder):
    """Load every operation that the U-Net at the end can use."""
    return {
        name: getattr(load(path_of(folder, exercise)), name)
        for exercise in EXERCISES
        for name in exercise.offers
    }


def test_the_picture_of_the_answers_is_tinyunets_own_pixel_by_pixel(solved):
    mine = functions_of(solved)
    assert len(mine) == 9
    called = set()

    def counted(name, function):
        def counting(*arguments):
            called.add(name)
            return function(*arguments)

        return counting

    watched = {name: counted(name, function) for name, function in mine.items()}
    lines = []
    picture = train_and_draw(watched, steps=12, tell=lines.append)
    assert called == mine.keys()  # the picture is made by them, not by ours
    np.testing.assert_array_equal(picture, train_and_draw({}, steps=12, tell=lines.append))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100


def test_training_with_a_wrong_operation_gives_another_picture(solved):
    mine = functions_of(solved)

    def wrong(x):
        y, backward = mine["relu"](x)
        return y, lambda dy: dy

    right = train_and_draw({}, steps=4, tell=lambda line: None)
    assert (train_and_draw({"relu": wrong}, steps=4, tell=lambda line: None) != right).any()


def test_with_trains_and_leaves_the_picture(solved, capsys, monkeypatch):
    monkeypatch.setattr("tinyunet.course.finale.STEPS", 2)
    assert learn(solved, "--with", "relu,unet") == 0
    assert "relu and unet are yours" in capsys.readouterr().out
    with Image.open(solved / "unet.png") as picture:
        legend = np.array(picture)[-45:]
    assert all((legend == color).all(axis=2).sum() > 80 for color in CLASS_COLORS)
    (solved / "unet.png").unlink()
    assert learn(solved) == 0  # the last exercise is right: the U-Net trains by itself, once
    assert "All 16 exercises are right" in capsys.readouterr().out
    assert (solved / "unet.png").exists()


def test_with_takes_only_what_is_right(folder, capsys):
    assert learn(folder, "--with", "relu") == 2
    assert "01_relu.py is not right yet" in capsys.readouterr().err
    assert learn(folder, "--with", "telu") == 2
    assert "choose from" in capsys.readouterr().err


def test_the_steps_of_the_last_exercise_are_those_of_its_file():
    for name in UNET_STEPS:
        assert f'steps["{name}"]' in template("16_unet")
