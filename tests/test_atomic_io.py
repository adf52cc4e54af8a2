"""Files that appear in one go, and who may write where: told with real processes that die."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyunet import atomic_io
from tinyunet.atomic_io import save_text, sole_writer, written_aside
from tinyunet.errors import UserError

ROOT = Path(__file__).parent.parent


@contextlib.contextmanager
def process_that(does: str, folder: Path):
    """Run Python code in a process of its own until it says that it is ready."""
    code = "import sys; from tinyunet.atomic_io import *; folder = sys.argv[1]\n" + does
    process = subprocess.Popen(
        [sys.executable, "-c", code, folder],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


WRITE = """
with written_aside(folder + '/file') as file:
    file.write(b'half')
    file.flush()
    print('ready', flush=True)
    sys.stdin.readline()
"""
FILL = """
with new_folder(folder + '/out') as out:
    (out / 'part').write_text('half')
    print('ready', flush=True)
    sys.stdin.readline()
"""
HOLD = """
with sole_writer(folder):
    print('ready', flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def fresh_process():
    """Let this process look for leftovers again, as a new one would."""
    atomic_io.remove_leftovers.cache_clear()


# -- Files and folders -----------------------------------------------------------------------------


@given(content=st.binary(max_size=100), old=st.none() | st.binary(max_size=100))
def test_a_file_has_its_whole_content_and_nothing_lies_beside(tmp_path, content, old):
    path = tmp_path / "file"
    path.unlink(missing_ok=True)
    if old is not None:
        path.write_bytes(old)
    with written_aside(path) as file:
        file.write(content)
        assert path.exists() == (old is not None)
        assert old is None or path.read_bytes() == old
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_new_file_has_the_permissions_that_files_have_here(tmp_path):
    (tmp_path / "usual").write_text("a")
    save_text("b", tmp_path / "ours")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    save_text("a", tmp_path / ("n" * 255))
    assert os.listdir(tmp_path) == ["n" * 255]


def test_text_that_is_no_unicode_is_escaped(tmp_path):
    save_text("caf\udce9 ü", tmp_path / "text")
    assert (tmp_path / "text").read_text(encoding="utf-8") == "caf\\udce9 ü"


def test_many_writers_of_one_file_never_mix(tmp_path):
    path, contents = tmp_path / "file", [bytes([number]) * 20_000 for number in range(8)]

    def write(content):
        for _ in range(30):
            with written_aside(path) as file:
                for start in range(0, len(content), 4000):
                    file.write(content[start : start + 4000])

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("does", [WRITE, FILL])
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, does):
    with process_that(does, tmp_path) as process:
        process.kill()
        process.wait()
        assert list(tmp_path.glob(".tinyunet-*"))
        save_text("new", tmp_path / "other")
        assert os.listdir(tmp_path) == ["other"]


@pytest.mark.parametrize(("does", "made"), [(WRITE, "file"), (FILL, "out")])
def test_what_a_living_process_writes_is_left_alone(tmp_path, does, made):
    with process_that(does, tmp_path) as process:
        save_text("new", tmp_path / "other")
        process.communicate("go on\n")
    assert process.returncode == 0
    assert sorted(os.listdir(tmp_path)) == sorted([made, "other"])


@pytest.mark.skipif(os.name == "nt", reason="there Ctrl-C is another thing")
@pytest.mark.parametrize("does", [WRITE, FILL])
def test_ctrl_c_leaves_nothing(tmp_path, does):
    with process_that(does, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        process.wait()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has locks of another kind")
def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    import fcntl

    def unsupported(file, what):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    (tmp_path / ".tinyunet-1.partial").touch()  # whose it is can't be told, so it is left alone
    monkeypatch.setattr(fcntl, "flock", unsupported)
    save_text("a", tmp_path / "file")
    with sole_writer(tmp_path):
        pass
    assert sorted(os.listdir(tmp_path)) == [".tinyunet-1.partial", "file"]


# -- One writer ------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path):
    with process_that(HOLD, tmp_path):
        with pytest.raises(UserError, match=f"another process is writing into {tmp_path}"):
            with sole_writer(tmp_path):
                pass


def test_a_writer_that_was_killed_stands_in_nobodys_way(tmp_path):
    with process_that(HOLD, tmp_path) as process:
        process.kill()
        process.wait()
        assert os.listdir(tmp_path) == [".lock"]
        with sole_writer(tmp_path):
            pass
    assert os.listdir(tmp_path) == []


def test_one_process_is_two_writers_if_it_starts_twice(tmp_path):
    with sole_writer(tmp_path), pytest.raises(UserError, match="another process"):
        with sole_writer(tmp_path):
            pass
    with sole_writer(tmp_path):
        pass
