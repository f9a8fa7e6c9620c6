"""The numbers that the papers and their official repositories published."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from suite.errors import SuiteError, nearest
from suite.experiments.schema import Experiment

FILE = Path(__file__).with_name("paper_numbers.yaml")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Paper(_Model):
    """A paper that numbers were taken from."""

    title: str
    venue: str


class _Rows(_Model):
    """Columns and rows of values. A row holds its key fields beside ``values``."""

    columns: list[str]
    rows: list[dict[str, Any]]
    notes: str | None = None

    @model_validator(mode="after")
    def _aligned(self) -> "_Rows":
        for position, row in enumerate(self.rows):
            values = row.get("values")
            if not isinstance(values, list) or len(values) != len(self.columns):
                raise ValueError(f"rows[{position}] needs {len(self.columns)} 'values', one for each column")
        return self


class Entry(_Rows):
    """One table, figure or numeric statement of a paper.

    Attributes:
        transcription: How sure the values are: ``exact``, ``inferred`` (re-aligned from a broken layout),
            ``partial``, ``axes-only`` or ``not-numeric``.
    """

    id: str
    paper: str
    kind: Literal["table", "figure", "text"]
    number: str | int
    title: str
    trained_on: str | None
    split: str | None
    metric: str | None
    unit: str
    row_keys: list[str]
    runs_needed: str | None = None
    inputs_needed: str | None = None
    regenerable: str
    transcription: Literal["exact", "inferred", "partial", "axes-only", "not-numeric"]

    @model_validator(mode="after")
    def _keyed(self) -> "Entry":
        for position, row in enumerate(self.rows):
            missing = [key for key in self.row_keys if key not in row]
            if missing:
                raise ValueError(f"rows[{position}] has no {', '.join(missing)}")
        return self


class RepositoryEntry(_Rows):
    """Numbers from the README of an official repository."""

    id: str
    source: str
    split: list[str] = Field(default_factory=list)


class _File(_Model):
    schema_version: Literal[1]
    description: dict[str, Any] = Field(alias="schema")
    papers: dict[str, Paper]
    entries: list[Entry]
    repository_numbers: list[RepositoryEntry]

    @model_validator(mode="after")
    def _consistent(self) -> "_File":
        ids = [entry.id for entry in self.entries]
        for entry in self.entries:
            if ids.count(entry.id) > 1:
                raise ValueError(f"two entries have the id {entry.id!r}")
            if entry.paper not in self.papers:
                raise ValueError(f"entry {entry.id!r}: paper {entry.paper!r} is unknown")
        return self


@dataclass(frozen=True)
class Answer:
    """A published number, or why there is none.

    Attributes:
        value: The number in the entry's unit, or None.
        reason: Why there is no number; empty when there is one.
    """

    value: float | None
    reason: str = ""


class PaperNumbers:
    """Looks up published numbers.

    Args:
        path: A file like ``paper_numbers.yaml``.

    Raises:
        SuiteError: The file is unreadable or its rows, keys and columns do not fit together.
    """

    def __init__(self, path: Path = FILE) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            self._file = _File.model_validate(yaml.load(path.read_text(), Loader=loader))
        except (OSError, yaml.YAMLError) as error:
            raise SuiteError(f"{path}: cannot read: {error}.") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise SuiteError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}.") from error
        self.entries = {entry.id: entry for entry in self._file.entries}
        self.papers = self._file.papers

    def entry_of(self, experiment: Experiment) -> Entry | None:
        """The published table or figure that an experiment stands beside, or None."""
        return self.entries.get(experiment.published or experiment.id)

    def lookup(self, entry_id: str, row_keys: Mapping[str, Any], column: str) -> Answer:
        """Find one published number.

        Args:
            entry_id: Such as ``ltm.table2``.
            row_keys: Key fields that single out one row, such as ``{"detector": "LTM"}``.
            column: A column of the entry.

        Returns:
            The number, or why the paper has none.

        Raises:
            SuiteError: The row keys or the column name something that the entry does not have.
        """
        entry = self.entries.get(entry_id)
        if entry is None:
            return Answer(None, "not published")
        row = self.row(entry_id, row_keys)
        if column not in entry.columns:
            raise SuiteError(
                f"published {entry_id}: no column {column!r}.{nearest(column, entry.columns)}",
                f"Columns: {', '.join(entry.columns)}.",
            )
        value = row["values"][entry.columns.index(column)]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return Answer(float(value))
        return Answer(None, f"not published as a number ({entry.transcription})")

    def row(self, entry_id: str, row_keys: Mapping[str, Any]) -> dict[str, Any]:
        """The one row of an entry with these key fields.

        Raises:
            SuiteError: A key is unknown, or the keys fit no row or several.
        """
        entry = self.entries[entry_id]
        unknown = [key for key in row_keys if key not in entry.row_keys]
        if unknown:
            known = f"expected {', '.join(entry.row_keys) or 'none'}"
            raise SuiteError(f"published {entry_id}: row key {unknown[0]!r} is unknown; {known}.")
        rows = [row for row in entry.rows if all(row[key] == value for key, value in row_keys.items())]
        if len(rows) != 1:
            known_rows = "; ".join(str({key: row[key] for key in entry.row_keys}) for row in entry.rows[:30])
            raise SuiteError(
                f"published {entry_id}: {dict(row_keys)} fits {len(rows)} rows; expected one.",
                f"Its rows: {known_rows}.",
            )
        return rows[0]


@lru_cache(maxsize=1)
def paper_numbers() -> PaperNumbers:
    """The published numbers that come with the package."""
    return PaperNumbers()
