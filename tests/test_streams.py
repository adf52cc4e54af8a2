"""No trouble with the streams ends a training: full disks, readers that left, odd letters."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_training import blobs, write_folders
from tinyunet.cli.main import Stream

ROOT = Path(__file__).parent.parent
TRAIN = (
    "train images masks --out run --steps 4 --batch-size 1 --crop-size 16 --base-channels 2 "
    "--depth 1 --val-interval 2 --device cpu"
).split()


def start(*arguments, **streams):
    """Start ``python -m tinyunet`` in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | streams.pop("environment", {})
    command = [sys.executable, "-m", "tinyunet", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, **streams)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_training_goes_on_when_the_disk_under_its_streams_is_full(tmp_path):
    write_folders(tmp_path, blobs(4))
    with open("/dev/full", "w") as full:
        process = start(*TRAIN, cwd=tmp_path, stdout=full, stderr=full)
        assert process.wait(120) == 2  # what it printed at the end is lost
    assert (tmp_path / "run" / "model.npz").exists()


def test_a_training_goes_on_when_nobody_reads_any_more(tmp_path):
    write_folders(tmp_path, blobs(4))
    process = start(*TRAIN, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stderr.close()
    assert process.wait(120) == 0
    assert (tmp_path / "run" / "model.npz").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_lost_output_is_said_where_it_can_be(tmp_path):
    with open("/dev/full", "w") as full:
        process = start("inspect", stdout=full, stderr=subprocess.PIPE, text=True)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert error == "tinyunet: cannot use standard output: No space left on device\n"


def test_text_that_a_stream_cannot_encode_is_escaped():
    raw = io.BytesIO()
    stream = Stream(io.TextIOWrapper(raw, encoding="ascii"))
    print("Gebäude \udce9 森", file=stream, flush=True)
    assert raw.getvalue() == b"Geb\\xe4ude \\udce9 \\u68ee" + os.linesep.encode()


def test_a_stream_that_is_not_there_takes_everything():
    stream = Stream(None)
    print("text", file=stream, flush=True)
    assert stream.error is None


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C another way")
@pytest.mark.parametrize("wait", [0.03, 0.2, 1.0, 3.0])
def test_ctrl_c_is_one_line_from_the_first_instant_on(tmp_path, wait):
    # Pressed three times: a moment after the start, when NumPy is imported, and later.
    write_folders(tmp_path, blobs(4))
    code = f"""
import os, runpy, signal, sys, threading, time

def press():
    for seconds in ({wait}, 0.002, 0.002):
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press, daemon=True).start()
runpy.run_module("tinyunet", run_name="__main__")
"""
    arguments = [*TRAIN, "--steps", "100000"]
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert process.returncode == 130
    assert "Traceback" not in process.stderr
    assert process.stderr.splitlines()[-1].startswith("tinyunet: stopped")
    assert not list(tmp_path.rglob(".tinyunet-*")) and not list(tmp_path.rglob(".lock"))
