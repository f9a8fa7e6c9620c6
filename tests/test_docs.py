"""What docs/methods.md names exists: functions, files, options, defaults; and its figure is drawn."""

import importlib
import math
import re
import runpy
import subprocess
import sys
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from suite.detectors.focal import background_term
from suite.limits import AUXILIARIES, NEGATIVE_MATCHING, SEPARATIONS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "methods.md"
CONFIGS = ROOT / "suite" / "configs" / "methods"
METHODS = sorted(path.stem for path in CONFIGS.glob("*.py"))
CODE = re.compile(r"`([^`]+)`")
FOLDERS = {
    path.stem: folder
    for folder in ("detectors", "inference")
    for path in (ROOT / "suite" / folder).glob("*.py")
}
"""Module of a head, a loss or of inference -> its folder in ``suite``."""


@dataclass(frozen=True)
class Row:
    """A row of an option table, for one method and one option."""

    method: str
    option: str
    default: str


def sections() -> dict[str, list[str]]:
    """Heading of the second level -> its lines."""
    found: dict[str, list[str]] = {"": []}
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            found[line[3:]] = []
        list(found.values())[-1].append(line)
    return found


def tables(lines: list[str]) -> list[list[list[str]]]:
    """The tables among the lines, header first, as rows of cells; the rule under the header is left out."""
    found: list[list[list[str]]] = []
    inside = False
    for line in lines:
        if line.startswith("|"):
            if not inside:
                found.append([])
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not set("".join(cells)) <= set("- "):
                found[-1].append(cells)
        inside = line.startswith("|")
    return found


def option_rows() -> list[Row]:
    """Every option of every method that the page has in a table."""
    rows = []
    for heading, lines in sections().items():
        methods = [name for name in CODE.findall(heading) if name in METHODS]
        for table in tables(lines):
            if table[0][0] != "option":
                continue
            for cells in table[1:]:
                names = CODE.findall(cells[0])
                meant = [name for name in names if name in METHODS] or methods
                special = dict(re.findall(r"`(\w+)`: `(\w+)`", cells[1]))
                options = [name for name in names if name not in METHODS]
                defaults = CODE.findall(cells[1].split(";")[0])
                for option, default in zip_longest(options, defaults if "as `" not in cells[1] else []):
                    rows += [Row(m, option, special.get(m, default or cells[1])) for m in meant]
    return rows


def described(table_of: str) -> dict[str, str]:
    """First cell -> the others, of the table headed by an option's name."""
    for table in tables(PAGE.read_text().splitlines()):
        if table[0][0] == f"`{table_of}`":
            return {cells[0].strip("`"): " ".join(cells[1:]) for cells in table[1:]}
    raise AssertionError(f"no table of {table_of}")


def value(method: str, option: str) -> Any:
    """What an option is in the method's config."""
    config = Config.fromfile(CONFIGS / f"{method}.py", import_custom_modules=False)
    paths = config.suite.options[option]
    for key in (paths if isinstance(paths, str) else paths[0]).split("."):
        config = config[key]
    return config


def resolve(name: str) -> Any:
    """The module, function or method of a dotted name; ImportError if there is none."""
    parts = name.split(".")
    found = importlib.import_module(parts[0])
    for index, part in enumerate(parts[1:], start=2):
        if not hasattr(found, part):
            importlib.import_module(".".join(parts[:index]))  # a module not imported yet, or an error
        found = getattr(found, part)
    return found


def functions() -> list[str]:
    """Full names of the modules, functions and methods that the page names."""
    names = [name for name in CODE.findall(PAGE.read_text()) if re.fullmatch(r"\w+(\.\w+)+", name)]
    full = {name for name in names if name.startswith("suite.")}
    heads = {name.split(".")[0] for name in names} & FOLDERS.keys()
    return sorted(
        full | {f"suite.{FOLDERS[top]}.{name}" for name in names if (top := name.split(".")[0]) in heads}
    )


def test_every_function_exists() -> None:
    names = functions()
    assert len(names) > 25
    assert all(resolve(name) is not None for name in names)


def test_the_function_table_names_functions_and_their_own_files() -> None:
    table = next(table for table in tables(PAGE.read_text().splitlines()) if table[0][1] == "function")
    file = ""
    for _, names, cell in table[1:]:
        file = cell if cell != "same" else file
        modules = {name.split(".")[0] for name in CODE.findall(names)}
        assert {f"[{one}.py](../suite/{FOLDERS[one]}/{one}.py)" for one in modules} == {file}


def test_a_name_that_is_not_there_is_found_out() -> None:
    with pytest.raises(ImportError):
        resolve("suite.detectors.mean_max.eq26")


def test_every_file_exists() -> None:
    text = PAGE.read_text()
    linked = [PAGE.parent / target for target in re.findall(r"\]\(([^)#]+)\)", text)]
    named = [ROOT / name for name in CODE.findall(text) if "/" in name and " " not in name]
    assert len(linked) > 15 and named
    assert [path for path in linked + named if not path.exists()] == []


@pytest.mark.parametrize("method", METHODS)
def test_the_options_of_a_method_and_its_defaults_are_those_of_its_config(method: str) -> None:
    rows = [row for row in option_rows() if row.method == method]
    options = Config.fromfile(CONFIGS / f"{method}.py", import_custom_modules=False).suite.options
    own = {row.option for row in rows}
    assert own == set(options)
    for row in rows:
        actual = value(method, row.option)
        if row.default.startswith("as `"):
            assert actual == value(row.default[4:-1], row.option), row
        elif isinstance(actual, float):
            assert float(row.default) == actual, row
        else:
            assert row.default == str(actual), row


def test_every_name_an_option_can_have_is_described() -> None:
    for option, names in (("negative_matching", NEGATIVE_MATCHING), ("separation", SEPARATIONS)):
        rows = described(option)
        assert set(rows) == set(names)
        assert all(len(text) > 10 for text in rows.values())
    (sentence,) = re.findall(r"what `auxiliary` names: ([^.]+)\.", PAGE.read_text())
    assert set(CODE.findall(sentence)) == set(AUXILIARIES)
    assert all(re.search(rf"`{name}`, [^`;]{{10,}}", sentence) for name in AUXILIARIES)


def test_the_numbers_about_rho_are_those_of_the_functions() -> None:
    (lines,) = (lines for heading, lines in sections().items() if heading == "Why rho sets the bias")
    (table,) = tables(lines)
    rows = {cells[0]: cells[1:] for cells in table}
    pairs = 201_600 * 80
    for column, rho in enumerate((0.01, 0.02, 0.5)):
        logit = torch.tensor(math.log(rho / (1 - rho)), dtype=torch.float64, requires_grad=True)
        loss = background_term(logit, 2.0)
        (slope,) = torch.autograd.grad(loss, logit)
        expected = {
            "bias": [logit.item()],
            "L+ of a bag, at least": [-math.log(rho)],
            "background: one pair; all pairs": [loss.item(), pairs * loss.item()],
            "LTM's focal term: divided by 40 x 7": [pairs * loss.item() / 280],
            "FreeAnchor's: divided by 50 x 7, x 0.5": [pairs * loss.item() / 700],
            "LTM's gradient: background down; bags up": [pairs * slope.item() / 280, 1 - rho],
        }
        for name, numbers in expected.items():
            stated = [float(part.replace(",", "")) for part in rows[name][column].split(";")]
            assert stated == pytest.approx(numbers, rel=0.03), (name, rho)


def test_the_figure_is_drawn_and_the_same_each_time(tmp_path: Path) -> None:
    script = ROOT / "docs" / "figures" / "matching_functions.py"
    subprocess.run([sys.executable, script, tmp_path / "one"], check=True, capture_output=True)
    runpy.run_path(str(script))["draw"](tmp_path / "other")
    for name in ("matching_functions.png", "matching_functions.svg"):
        drawn = (tmp_path / "one" / name).read_bytes()
        assert len(drawn) > 10_000
        assert drawn == (tmp_path / "other" / name).read_bytes()
