"""The check of a GPU: refused without one, and a report whose parts may fail."""

import subprocess
import sys
from pathlib import Path

import gpu_check
import pytest


def test_it_is_refused_where_torch_sees_no_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_check, "gpu_problem", lambda python: "torch 2.13.0 sees no GPU")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("something was started"))
    assert gpu_check.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: torch 2.13.0 sees no GPU, so there is nothing to check.\n-> ")


def test_a_python_without_torch_is_no_gpu_either(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    assert "No module named 'torch'" in gpu_check.gpu_problem(str(python))


def test_all_parts_run_and_the_report_names_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "reports" / "gpu"
    code = {
        "tests": "print('== 9 passed in 3s =='); raise SystemExit(1)",
        "benchmark": f"open({str(folder / 'gpu.md')!r}, 'w').write('# One GPU\\n\\nfast\\n')",
        "mini": "print('complete')",
    }
    monkeypatch.setattr(gpu_check, "ROOT", tmp_path)
    monkeypatch.setattr(gpu_check, "gpu_problem", lambda python: "")
    monkeypatch.setattr(
        gpu_check, "parts", lambda python, _: {name: [python, "-c", text] for name, text in code.items()}
    )
    assert gpu_check.main() == 1
    text = (folder / "gpu-check.md").read_text()
    assert "| tests | **failed** |" in text and "| mini | passed |" in text
    assert "Tests: 9 passed in 3s." in text and "## One GPU\n\nfast" in text
    assert (folder / "mini.log").read_text() == "complete\n"
    assert "written:" in capsys.readouterr().out


def test_its_commands_are_there(project: Path) -> None:
    parts = gpu_check.parts("python", Path("reports"))
    assert (project / parts["tests"][-1]).is_dir() and (project / parts["benchmark"][1]).is_file()
    assert parts["mini with FAST=1"][-1] == "--fast"
