"""docs/architecture.md draws floors: nothing is imported from a floor above, and there are no circles."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "suite"
PAGE = PACKAGE.parent / "docs" / "architecture.md"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if "configs" not in path.parts
}


def floors() -> list[list[str]]:
    """The floors that the page draws, the lowest first: names of packages and modules of ``suite``."""
    (drawing,) = re.findall(r"```floors\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [re.findall(r"[a-z_]+", line.partition(":")[0]) for line in reversed(drawing.splitlines())]


FLOOR = {name: number for number, names in enumerate(floors()) for name in names}


def top(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def imports(module: str, path: Path) -> set[str]:
    """The suite's modules that a module imports, inside its functions too, but not for types alone."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "suite":
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & MODULES.keys()) or {str(node.module)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
    return found - {module}


IMPORTS = {module: imports(module, path) for module, path in MODULES.items()}


def test_every_package_and_module_has_a_floor():
    assert {top(module) for module in MODULES} - {"suite"} == set(FLOOR)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_is_imported_from_a_floor_above(module):
    if module == "suite":
        return
    own = FLOOR[top(module)]
    above = {
        other
        for other in IMPORTS[module]
        if other != "suite" and top(other) != top(module) and FLOOR[top(other)] >= own
    }
    assert not above


def test_there_are_no_circles():
    open_modules, finished = [], set()

    def visit(module):
        assert module not in open_modules, " -> ".join([*open_modules, module])
        if module in finished:
            return
        open_modules.append(module)
        for other in sorted(IMPORTS.get(module, ())):
            # A package's __init__ only collects its modules for others.
            if not module.startswith(f"{other}."):
                visit(other)
        finished.add(open_modules.pop())

    for module in sorted(MODULES):
        visit(module)


LIGHT = {
    "a plan": "from suite.workflow import Request, make_plan;"
    "make_plan(Request('smoke', 'core', (), None, Workspace(pathlib.Path('.'))))",
    "a report": "import suite.workflow, suite.reporting.render",
    "help": "from suite.cli import app; import typer.testing;"
    "assert typer.testing.CliRunner().invoke(app, ['--help']).exit_code == 0",
}
HEAVY = {"torch", "mmcv", "mmdet", "ray", "mlflow", "optuna"}
HEAVY_FOR = {"a plan": HEAVY | {"mmengine", "pandas", "scipy", "matplotlib"}}
"""A plan takes a second; of these each would add a fifth of it and more."""


@pytest.mark.parametrize("what", LIGHT)
def test_what_imports_no_torch(what, project):
    code = (
        f"import sys, pathlib; from suite.workspace import Workspace; {LIGHT[what]};"
        f"heavy = {HEAVY_FOR.get(what, HEAVY)} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_file_that_the_page_names_exists():
    text = PAGE.read_text()
    named = set(re.findall(r"`((?:suite|experiments|docs|tools|tests)/[\w./]+\.\w+)`", text))
    named |= {f"docs/{link}" for link in re.findall(r"\]\(([\w/-]+\.md)\)", text)}
    assert len(named) > 20
    assert [name for name in sorted(named) if not (PACKAGE.parent / name).exists()] == []
