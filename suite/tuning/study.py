"""The schema of ``experiments/studies/<name>.yaml``: what is searched, how, and by which number."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from suite.errors import SuiteError, nearest
from suite.experiments.schema import Scalar, load_yaml

Number = int | float


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SearchDimension(_Strict):
    """What one option may be in a trial."""

    type: Literal["int", "float", "categorical"]
    low: Number | None = None
    high: Number | None = None
    step: Number | None = None
    log: bool = False
    """Whether values are drawn evenly in their logarithm."""
    choices: list[Scalar] | None = None
    when: dict[str, list[Scalar]] = Field(default_factory=dict)
    """The dimension exists only in trials where each option named here has the value, or one of them."""

    @field_validator("when", mode="before")
    @classmethod
    def _listed(cls, when: Any) -> Any:
        if not isinstance(when, dict):
            return when
        return {other: value if isinstance(value, list) else [value] for other, value in when.items()}

    @model_validator(mode="after")
    def _consistent(self) -> "SearchDimension":
        if self.type == "categorical":
            if not self.choices or len(set(map(repr, self.choices))) < len(self.choices):
                raise ValueError("a categorical dimension needs 'choices', each once")
            if (self.low, self.high, self.step, self.log) != (None, None, None, False):
                raise ValueError("a categorical dimension has no 'low', 'high', 'step' or 'log'")
            return self
        if self.choices is not None or self.low is None or self.high is None:
            raise ValueError(f"a dimension of type {self.type} needs 'low' and 'high', and no 'choices'")
        numbers = [value for value in (self.low, self.high, self.step) if value is not None]
        if self.type == "int" and not all(isinstance(value, int) for value in numbers):
            raise ValueError("a dimension of type int needs whole numbers")
        if self.low > self.high:
            raise ValueError(f"'low', {self.low}, is above 'high', {self.high}")
        if self.step is not None and self.step <= 0:
            raise ValueError("'step' must be above 0")
        if self.step is not None and abs(self._steps - round(self._steps)) > 1e-6:
            raise ValueError("'high' is not a whole number of steps above 'low'")
        if self.log and self.step is not None:
            raise ValueError("'log' and 'step' exclude each other")
        if self.log and self.low <= 0:
            raise ValueError("'log' needs a 'low' above 0")
        return self

    @property
    def _spacing(self) -> Number | None:
        """Distance between neighbouring values; None where there are none."""
        return 1 if self.type == "int" and self.step is None and not self.log else self.step

    @property
    def _steps(self) -> float:
        """Number of steps from low to high, of a dimension that has them."""
        assert self.low is not None and self.high is not None and self._spacing is not None
        return (self.high - self.low) / self._spacing

    @property
    def values(self) -> list[Scalar] | None:
        """All values, in order; None where they cannot be listed."""
        if self.choices is not None:
            return list(self.choices)
        low, spacing = self.low, self._spacing
        if low is None or spacing is None:
            return None
        return [tidy(low + index * spacing) for index in range(round(self._steps) + 1)]


def tidy(value: Number) -> Number:
    """A number of a grid as people write it: 0.3, where adding up steps gives 0.30000000000000004."""
    return value if isinstance(value, int) else round(value, 10)


class Objective(_Strict):
    """A number of a finished run that is made as large or as small as can be."""

    metric: str
    direction: Literal["maximize", "minimize"]


class Constraint(_Strict):
    """A bound that the best trial has to keep, in the metric's printed unit."""

    metric: str
    at_most: float


class Holdout(_Strict):
    """The training images that trials are evaluated on, and not trained on."""

    fraction: Annotated[float, Field(gt=0, le=0.5)]
    at_most: Annotated[int, Field(ge=1)]
    """No more images than this."""
    seed: Annotated[int, Field(ge=0)]


class _Seeded(_Strict):
    seed: Annotated[int, Field(ge=0)]


class Grid(_Seeded):
    """Every point of the grid once, in an order drawn by ``seed``."""

    name: Literal["grid"]


class Random(_Seeded):
    """Independent draws."""

    name: Literal["random"]


class Tpe(_Seeded):
    """Tree-structured Parzen estimator; the arguments are Optuna's."""

    name: Literal["tpe"]
    n_startup_trials: Annotated[int, Field(ge=0)]
    n_ei_candidates: Annotated[int, Field(ge=1)]
    multivariate: bool
    group: bool
    constant_liar: bool


class Nsgaii(_Seeded):
    """NSGA-II, for several objectives; the arguments are Optuna's."""

    name: Literal["nsgaii"]
    population_size: Annotated[int, Field(ge=2)]
    mutation_prob: Annotated[float, Field(ge=0, le=1)] | None
    crossover_prob: Annotated[float, Field(ge=0, le=1)]
    swapping_prob: Annotated[float, Field(ge=0, le=1)]


class NoPruner(_Strict):
    """Every trial is trained to its end."""

    name: Literal["none"]


class _Patience(_Strict):
    n_startup_trials: Annotated[int, Field(ge=0)]
    n_warmup_steps: Annotated[int, Field(ge=0)]
    """In epochs."""
    interval_steps: Annotated[int, Field(ge=1)]
    n_min_trials: Annotated[int, Field(ge=1)]


class Median(_Patience):
    """Ends a trial whose best AP so far is below the median of the others' at that epoch."""

    name: Literal["median"]


class Percentile(_Patience):
    """Keeps ``percentile`` percent of the trials at each epoch."""

    name: Literal["percentile"]
    percentile: Annotated[float, Field(ge=0, le=100)]


Sampler: TypeAlias = Annotated[Grid | Random | Tpe | Nsgaii, Field(discriminator="name")]
Pruner: TypeAlias = Annotated[NoPruner | Median | Percentile, Field(discriminator="name")]


class Study(_Strict):
    """An Optuna search over one method's options."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    title: str
    method: str
    preset: str
    options: dict[str, Any] = Field(default_factory=dict)
    """Options that every trial has."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    """Training seeds of a trial: one run each, and a trial's number is their mean."""
    space: Annotated[dict[str, SearchDimension], Field(min_length=1)]
    objectives: Annotated[list[Objective], Field(min_length=1)]
    split: Literal["holdout", "val"]
    """``val`` is the split that tables report: what is tuned on it must say so."""
    holdout: Holdout | None = None
    constraints: list[Constraint] = Field(default_factory=list)
    sampler: Sampler
    pruner: Pruner
    trials: Annotated[int, Field(ge=1)]
    """Trials in all, pruned and failed ones included."""
    parallel: Annotated[int, Field(ge=1)]
    """Trials at once."""
    cpus: Annotated[float, Field(gt=0)] | None = None
    """CPU cores of a run; the preset's by default."""
    gpus: Annotated[float, Field(ge=0)] | None = None
    """GPUs of a run, also a fraction; the preset's by default."""

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        if (self.split == "holdout") != (self.holdout is not None):
            raise ValueError("split: 'holdout' needs the field 'holdout', 'val' must not have it")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: must be distinct")
        for field in ("objectives", "constraints"):
            names = [one.metric for one in getattr(self, field)]
            if len(set(names)) < len(names):
                raise ValueError(f"{field}: a metric stands twice in {', '.join(names)}")
        if isinstance(self.sampler, Tpe) and self.sampler.group and not self.sampler.multivariate:
            raise ValueError("sampler: 'group' needs 'multivariate'")
        return self

    @property
    def metrics(self) -> list[str]:
        """What is measured of each trial: the objectives, then the constraints."""
        objectives = [one.metric for one in self.objectives]
        return [*objectives, *(one.metric for one in self.constraints if one.metric not in objectives)]

    @property
    def grid_size(self) -> int | None:
        """Number of points of the space; None where they cannot be counted."""
        size = 1
        for dimension in self.space.values():
            if dimension.values is None:
                return None
            size *= len(dimension.values)
        return size


def study_path(folder: Path, name: str) -> Path:
    """The file of a study below ``folder``.

    Raises:
        SuiteError: There is no such study.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(found.stem for found in folder.glob("*.yaml"))
        raise SuiteError(
            f"study {name!r} is unknown.{nearest(name, known)}",
            f"Known: {', '.join(known) or 'none; run the command from the project folder'}.",
        )
    return path


def load_study(path: Path) -> Study:
    """Read a study.

    Raises:
        SuiteError: The file cannot be read or does not fit the schema; it names the line.
    """
    study: Study = load_yaml(path, Study)
    if study.name != path.stem:
        raise SuiteError(f"{path}: field name: expected {path.stem!r} after the file, found {study.name!r}.")
    return study
