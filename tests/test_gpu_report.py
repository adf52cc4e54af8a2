"""The report about a GPU runs to its end, and says what it can't know."""

import json

import pytest

from tests.conftest import CUDA_PROBLEM
from tests.test_demos import load


def test_without_a_gpu_the_report_says_why(capsys):
    if not CUDA_PROBLEM:
        pytest.skip("a device answers here")
    with pytest.raises(SystemExit) as stopped:
        load("gpu_report").main([])
    assert stopped.value.code == 2
    assert "no CUDA device can be used" in capsys.readouterr().err


def test_a_report_without_pytorch_is_a_page_of_tables():
    report = {
        "device": {
            **{"name": "A card", "emulated": False, "memory_bytes": 8e9, "cuda_driver": 13020},
            **{"cuda_runtime": 12090, "compute_capability": "8.6", "cupy": "14", "numpy": "2"},
            **{"python": "3.12", "tinyunet": "1", "system": "Linux"},
        },
        "tests": {"summary": "7 passed"},
        "operations": [
            {"name": "relu", "difference": 0.0, "right": True},
            {"name": "softmax", "difference": 0.5, "right": False},
        ],
        "speed": [
            {
                **{"work": "inference", "base_channels": 16, "batch": 1, "size": 64},
                **{"seconds": 0.002, "memory_bytes": 5e6, "launches": None, "torch": []},
            }
        ],
    }
    page = load("gpu_report").page(report)
    assert "# On a GPU: A card" in page and "emulated" not in page
    assert "CUDA 12.9 with a driver for 13.2" in page
    assert "| softmax | 5.0e-01 | **wrong** |" in page
    assert "| inference, base 16, 1 x 64² | 2.0 ms | not installed | - | 5 MB | - | not c" in page


@pytest.mark.gpu
def test_the_report_runs_to_its_end_on_the_device(tmp_path, capsys):
    if CUDA_PROBLEM:
        pytest.skip("no CUDA device answers")
    out = tmp_path / "report.md"
    small = "--no-tests --bases 2 --depth 1 --crop-size 8 --image-size 16 --rounds 1".split()
    load("gpu_report").main([*small, "--out", str(out)])
    report = json.loads(out.with_suffix(".json").read_text())
    assert all(row["right"] for row in report["operations"])
    assert [row["work"] for row in report["speed"]] == ["training step", "inference"]
    assert ("timings below mean nothing" in out.read_text()) == report["device"]["emulated"]
    assert "You should have seen" in capsys.readouterr().out.splitlines()[-1]
