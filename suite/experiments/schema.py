"""The schema of ``experiments/<paper>/<name>.yaml``: one table or figure of a paper."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

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
    tuned: str | None = None
    """A ``best.yaml`` of a study, from the project's folder: its parameters are the row's options."""
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
        if self.tuned is not None and self.method is None:
            raise ValueError("a tuned row needs the 'method' that was tuned")
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
    """How a figure of measured numbers is drawn."""

    kind: Literal["bars", "lines", "scatter", "gain_bars"]
    x_label: str
    y_label: str
    categories: dict[str, list[str]] = Field(default_factory=dict)
    """For bars by category: group name -> COCO category names."""


class Picture(_Strict):
    """A picture of a formula, or of what a detector does with an image: no table of measured numbers."""

    kind: str
    """A key of :data:`suite.reporting.pictures.kinds.KINDS`."""
    settings: dict[str, Any] = Field(default_factory=dict)


class Claim(_Strict):
    """What a paper concludes, as a weighted sum of an item's cells that can be measured and settled."""

    text: str
    """The conclusion in words."""
    kind: Literal["gain", "gain_rises", "slope", "trend"]
    """``gain``: the row minus the row ``over``, in ``column``; ``gain_rises``: that gain in the column
    ``last`` minus that in ``first``; ``slope``: how fast the gain grows with a category's aspect ratio, in a
    scatter figure; ``trend``: how far our rows of ``column`` follow the published ones."""
    row: str | None = None
    """Label of a row; of none for a trend, which is about all rows."""
    over: str | None = None
    """Label of the row that the gain is over; by default the item's baseline."""
    column: str | None = None
    """Label of a column; by default the first."""
    first: str | None = None
    """Label of a column; by default the first."""
    last: str | None = None
    """Label of a column; by default the last."""
    expected: Literal["positive", "negative", "no difference"] = "positive"
    """What the paper found."""
    margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Effects of smaller size count as no difference, in percent; by default the preset's."""

    @model_validator(mode="after")
    def _fields_of_kind(self) -> "Claim":
        if (self.row is None) != (self.kind == "trend"):
            need = "is about all rows: leave 'row' out" if self.kind == "trend" else "needs a 'row'"
            raise ValueError(f"row: a claim of kind {self.kind!r} {need}")
        kinds = {
            "over": ("gain", "gain_rises", "slope"), "column": ("gain", "trend"),
            "first": ("gain_rises",), "last": ("gain_rises",),
        }  # fmt: skip
        for field, allowed in kinds.items():
            if getattr(self, field) is not None and self.kind not in allowed:
                raise ValueError(
                    f"{field}: a claim of kind {self.kind!r} has no such field; it is one of "
                    + ", ".join(allowed)
                )
        return self


class Experiment(_Strict):
    """One table or figure of a paper: which runs, which measurement, which published numbers."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[A-Za-z0-9_]+$")]
    title: str
    question: str
    kind: Literal["table", "figure"]
    core: bool = False
    factor: Annotated[list[str], Field(min_length=1)] = ["method"]
    """What the rows may differ in: ``method``, and names of options."""
    baseline: str | None = None
    """Label of the row that the others are compared with."""
    rows: list[Row] = Field(default_factory=list)
    columns: list[Column] = Field(default_factory=list)
    figure: Figure | None = None
    picture: Picture | None = None
    claims: list[Claim] = Field(default_factory=list)
    published: str | None = None
    """Id of the published entry; by default the experiment's own id."""
    dataset: str | None = None
    """The dataset that the item is about, as the COCO root's folder is named; None for the preset's."""
    generated_too: bool = False
    """Whether the presets that generate their images measure it on these, although ``dataset`` is another."""
    notes: str | None = None

    _path: Path | None = PrivateAttr(None)

    @property
    def paper(self) -> str:
        """The paper, as the experiment's folder is named."""
        return self.id.partition(".")[0]

    def at(self, *location: int | str) -> str:
        """Where a field stands, for messages: ``experiments/ltm/table1.yaml:12: field rows.1.method``."""
        field = ".".join(str(step) for step in location)
        if self._path is None:
            return f"{self.id}: field {field}"
        tree = yaml.compose(self._path.read_text(), Loader=yaml.SafeLoader)
        return f"{self._path}:{line_of(tree, location)}: field {field}"

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        if self.picture is not None and (self.figure is not None or self.columns):
            raise ValueError("picture: an item with a picture has neither 'figure' nor 'columns'")
        if (self.kind == "figure") != (self.figure is not None or self.picture is not None):
            raise ValueError("kind: a figure needs the field 'figure' or 'picture', a table has neither")
        if self.kind == "table" and not self.columns:
            raise ValueError("kind: a table needs 'columns'")
        self._check_labels()
        if self.picture is None:
            self._check_baseline()
        return self

    def _check_labels(self) -> None:
        for what, labels in (
            ("rows", [row.label for row in self.rows]),
            ("columns", [column.label for column in self.columns]),
        ):
            for label in labels:
                if labels.count(label) > 1:
                    raise ValueError(f"{what}: two are labelled {label!r}")

    def _check_baseline(self) -> None:
        runnable = {row.label for row in self.rows if row.method is not None}
        if not runnable:
            raise ValueError("rows: at least one row with a 'method' is needed")
        if self.baseline is None:
            raise ValueError(
                "baseline: missing; expected the label of the row that the others are compared with, one of "
                + ", ".join(repr(row.label) for row in self.rows if row.method is not None)
            )
        if self.baseline not in runnable:
            raise ValueError(
                f"baseline: {self.baseline!r} is not the label of a row with a method."
                + nearest(self.baseline, runnable)
            )
        for row in self.rows:
            for reference in (row.relative_to, row.improvement_of):
                if reference is not None and reference not in runnable:
                    raise ValueError(
                        f"rows: row {row.label!r} refers to {reference!r}." + nearest(reference, runnable)
                    )


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


def line_of(root: yaml.Node | None, location: tuple[int | str, ...]) -> int:
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
            # A check of several fields names the one to look at first.
            named, colon, rest = message.partition(": ")
            if not location and colon and named in model.model_fields:
                location, field, message = (named,), named, rest
            if item["type"] == "extra_forbidden":
                holder: Any = model
                for step in location[:-1]:
                    holder = _field_model(holder, step)
                known = holder.model_fields if holder is not None else {}
                message = "unknown field." + nearest(str(location[-1]), known)
            elif item["type"] != "missing" and isinstance(item["input"], Scalar):
                message += f" (found {item['input']!r})"
            problems.append(f"{path}:{line_of(tree, location)}: field {field}: {message}")
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
        experiment._path = path
        experiments.append(experiment)
    return sorted(experiments, key=lambda experiment: experiment.id)


def select(experiments: list[Experiment], wanted: str) -> list[Experiment]:
    """The experiments named by ``wanted``: ids separated by commas; ``core`` and ``all`` stand for several.

    Raises:
        SuiteError: An id is unknown.
    """
    groups = {
        "all": experiments,
        "core": [experiment for experiment in experiments if experiment.core],
        **{experiment.id: [experiment] for experiment in experiments},
    }
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if not names:
        raise SuiteError("no experiment is named.", f"Known: {', '.join(groups)}.")
    chosen: dict[str, Experiment] = {}
    for name in names:
        if name not in groups:
            raise SuiteError(
                f"experiment {name!r} is unknown.{nearest(name, groups)}", f"Known: {', '.join(groups)}."
            )
        chosen |= {experiment.id: experiment for experiment in groups[name]}
    return list(chosen.values())
