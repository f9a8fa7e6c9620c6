"""The schema of ``experiments/<paper>/<name>.yaml``: one table or figure of a paper."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from suite.errors import SuiteError, nearest

Scalar = str | int | float | bool


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Strict):
    """A row of a table, a bar group or a curve of a figure."""

    label: str
    method: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    published: dict[str, Scalar | None] | None = None
    """Row keys of the published entry; None where the paper has no such row."""
    why_published_only: str | None = None
    """For rows without a method: why the suite does not run it."""
    relative_to: str | None = None
    """For a derived row: the label of the row over which ``improvement_of`` improves, in percent."""
    improvement_of: str | None = None

    @model_validator(mode="after")
    def _kind(self) -> "Row":
        if (self.relative_to is None) != (self.improvement_of is None):
            raise ValueError("'relative_to' and 'improvement_of' go together")
        if self.method is not None and self.relative_to is not None:
            raise ValueError("a derived row has no 'method'")
        if self.method is None and self.relative_to is None and self.published is None:
            raise ValueError("a row needs 'method', 'published' or 'relative_to'")
        return self


class Column(_Strict):
    """A column of a table, or a point of a figure's axis."""

    label: str
    metric: str
    slice: str | None = None
    """A slice of images, as ``<dimension>=<bin>``: ``crowdedness=sparse``, ``objects=11-20``."""
    published: str | None = None
    """The published entry's column; None where the paper has no such column."""


class Figure(_Strict):
    """How a figure is drawn."""

    kind: Literal["bars", "lines", "scatter", "gain_bars"]
    x_label: str
    y_label: str
    categories: dict[str, list[str]] = Field(default_factory=dict)
    """For bars by category: group name -> COCO category names."""


class Experiment(_Strict):
    """One table or figure of a paper: which runs, which measurement, which published numbers."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]
    title: str
    question: str
    kind: Literal["table", "figure"]
    core: bool = False
    factor: str = "method"
    """What the rows may differ in."""
    baseline: str
    rows: Annotated[list[Row], Field(min_length=1)]
    columns: list[Column] = Field(default_factory=list)
    figure: Figure | None = None
    notes: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        labels = [row.label for row in self.rows]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two rows are labelled {label!r}")
        runnable = {row.label for row in self.rows if row.method is not None}
        if self.baseline not in runnable:
            raise ValueError(
                f"baseline {self.baseline!r} is not the label of a row with a method."
                + nearest(self.baseline, runnable)
            )
        for row in self.rows:
            for reference in (row.relative_to, row.improvement_of):
                if reference is not None and reference not in runnable:
                    raise ValueError(
                        f"row {row.label!r} refers to {reference!r}." + nearest(reference, runnable)
                    )
        if (self.kind == "figure") != (self.figure is not None):
            raise ValueError("a figure needs the field 'figure', a table must not have it")
        if self.kind == "table" and not self.columns:
            raise ValueError("a table needs 'columns'")
        return self


_FastestLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_FastestLoader):
    """A safe loader that refuses duplicate keys and reads ``1e-3`` as a number, which YAML 1.1 does not."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in mapping:
            raise yaml.MarkedYAMLError(
                problem=f"the field {key!r} stands twice", problem_mark=key_node.start_mark
            )
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _line_of(root: yaml.Node | None, location: tuple[int | str, ...]) -> int:
    """The line, from 1, of the node at ``location``, or of the closest node above it."""
    node = root
    line = 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def load_yaml(path: Path, model: type[BaseModel]) -> Any:
    """Read a YAML file into a pydantic model.

    Raises:
        SuiteError: The file cannot be read, is not YAML, or does not fit the model. The message names the
            file, the line, the field and the value.
    """
    try:
        text = path.read_text()
        values = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except OSError as error:
        raise SuiteError(f"{path}: cannot read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: not a text file.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else 1
        raise SuiteError(f"{path}:{line}: not valid YAML: {error.problem}.") from error
    if not isinstance(values, dict):
        raise SuiteError(f"{path}:1: expected a mapping of fields, found {type(values).__name__}.")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        problems = []
        for item in error.errors():
            location = item["loc"]
            field = ".".join(str(step) for step in location) or "(whole file)"
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "extra_forbidden":
                holder: Any = model
                for step in location[:-1]:
                    holder = _field_model(holder, step)
                known = holder.model_fields if holder is not None else {}
                message = "unknown field." + nearest(str(location[-1]), known)
            elif item["type"] != "missing" and isinstance(item["input"], Scalar):
                message += f" (found {item['input']!r})"
            problems.append(f"{path}:{_line_of(tree, location)}: field {field}: {message}")
        raise SuiteError("\n".join(problems)) from error


def _field_model(model: Any, step: int | str) -> Any:
    """The model that the field ``step`` of ``model`` holds; list positions keep the model."""
    if model is None or isinstance(step, int):
        return model
    annotation = model.model_fields[step].annotation if step in model.model_fields else None
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)), None)


def load_experiments(folder: Path) -> list[Experiment]:
    """Read every experiment below ``folder`` (studies excluded), sorted by id.

    Raises:
        SuiteError: The folder is missing, a file is malformed, or two files have the same id.
    """
    paths = sorted(path for path in folder.glob("*/*.yaml") if path.parent.name != "studies")
    if not paths:
        raise SuiteError(f"{folder}: no experiments found.", "Run the command from the project's folder.")
    seen: dict[str, Path] = {}
    experiments = []
    for path in paths:
        experiment: Experiment = load_yaml(path, Experiment)
        if experiment.id in seen:
            raise SuiteError(
                f"{path}: field id: {experiment.id!r} is also the id of {seen[experiment.id]}.",
                "Give one of them another id.",
            )
        expected = f"{path.parent.name}.{path.stem}"
        if experiment.id != expected:
            raise SuiteError(
                f"{path}: field id: expected {expected!r} after the file's name, found {experiment.id!r}."
            )
        seen[experiment.id] = path
        experiments.append(experiment)
    return sorted(experiments, key=lambda experiment: experiment.id)


def select(experiments: list[Experiment], wanted: str) -> list[Experiment]:
    """The experiments named by ``wanted``: ``core``, ``all``, or ids separated by commas.

    Raises:
        SuiteError: An id is unknown.
    """
    if wanted == "all":
        return experiments
    if wanted == "core":
        return [experiment for experiment in experiments if experiment.core]
    by_id = {experiment.id: experiment for experiment in experiments}
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    for name in names:
        if name not in by_id:
            raise SuiteError(
                f"experiment {name!r} is unknown.{nearest(name, by_id)}",
                f"Known: core, all, {', '.join(by_id)}.",
            )
    if not names:
        raise SuiteError("no experiment is named.", f"Known: core, all, {', '.join(by_id)}.")
    return [by_id[name] for name in names]
