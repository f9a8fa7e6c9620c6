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

Split = Literal["val2017", "test-dev2017", "train2017", "SKU110K"]
VAL: Split = "val2017"
TEST_DEV: Split = "test-dev2017"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Paper(_Model):
    """A paper that numbers were taken from."""

    title: str
    venue: str


class _Rows(_Model):
    """Columns and rows of values. A row holds its key fields beside ``values``."""

    id: str
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
        split: What its numbers were measured on; None where none is a measurement of a detector.
        split_note: How the split is known where the entry does not state it.
    """

    paper: str
    kind: Literal["table", "figure", "text"]
    number: str | int
    title: str
    trained_on: str | None
    split: Split | None
    split_note: str | None = None
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

    @model_validator(mode="after")
    def _knows_its_split(self) -> "Entry":
        numbers = [value for row in self.rows for value in row["values"] if _is_number(value)]
        if numbers and self.unit == "percent" and self.split is None:
            raise ValueError(f"entry {self.id!r} has numbers in percent and no 'split'")
        return self


class RepositoryEntry(_Rows):
    """Numbers from the README of an official repository, each column on its own split."""

    source: str
    splits: list[Split]

    @model_validator(mode="after")
    def _knows_its_splits(self) -> "RepositoryEntry":
        if len(self.splits) != len(self.columns):
            raise ValueError(f"{self.id!r} needs {len(self.columns)} 'splits', one for each column")
        return self


class _Place(_Model):
    """Where numbers of a trained detector are published: an entry, and the fields that single out a row."""

    entry: str
    row: dict[str, Any]

    def rows_of(self, entry: _Rows) -> list[dict[str, Any]]:
        """The rows that it fits."""
        return [row for row in entry.rows if all(row.get(key) == value for key, value in self.row.items())]


class _File(_Model):
    schema_version: Literal[1]
    description: dict[str, Any] = Field(alias="schema")
    papers: dict[str, Paper]
    entries: list[Entry]
    repository_numbers: list[RepositoryEntry]
    same_detector: list[list[_Place]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _consistent(self) -> "_File":
        ids = [entry.id for entry in self.entries]
        for entry in self.entries:
            if ids.count(entry.id) > 1:
                raise ValueError(f"two entries have the id {entry.id!r}")
            if entry.paper not in self.papers:
                raise ValueError(f"entry {entry.id!r}: paper {entry.paper!r} is unknown")
        return self

    @model_validator(mode="after")
    def _places_exist(self) -> "_File":
        known: dict[str, _Rows] = {entry.id: entry for entry in (*self.entries, *self.repository_numbers)}
        for place in (place for places in self.same_detector for place in places):
            found = len(place.rows_of(known[place.entry])) if place.entry in known else 0
            if found != 1:
                raise ValueError(f"same_detector: {place.entry} {place.row} fits {found} rows; expected one")
        return self


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Published:
    """A published number.

    Attributes:
        value: In the unit of the entry.
        split: What it was measured on.
        source: Where it stands: ``Table 5a (ltm.table5a)``, or the repository's file.
    """

    value: float
    split: Split
    source: str


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
        self._places: dict[str, _Rows] = {
            entry.id: entry for entry in (*self._file.entries, *self._file.repository_numbers)
        }

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
        if _is_number(value):
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

    def on_split(
        self, entry_id: str, row_keys: Mapping[str, Any], column: str, split: Split
    ) -> Published | None:
        """What is published of a row's detector on a split.

        The row's own number comes first, then those of other papers' entries, then those of repositories, in
        the order of ``same_detector``.

        Args:
            entry_id: Such as ``ltm.table1``.
            row_keys: Key fields that single out one row.
            column: A column such as ``AP``; other places are asked for the column of the same name.
            split: The split wanted.

        Raises:
            SuiteError: As :meth:`row`.
        """
        row, entry = self.row(entry_id, row_keys), self.entries[entry_id]
        places: list[tuple[_Rows, dict[str, Any]]] = [(entry, row)]
        for group in self._file.same_detector:
            rows = [
                (self._places[place.entry], place.rows_of(self._places[place.entry])[0]) for place in group
            ]
            if any(other is row for _, other in rows):
                places += rows
        for where, numbers in places:
            for name, measured_on, value in zip(
                where.columns, _splits(where), numbers["values"], strict=True
            ):
                if (name, measured_on) == (column, split) and _is_number(value):
                    return Published(float(value), split, _source(where))
        return None


def _source(where: _Rows) -> str:
    if isinstance(where, Entry):
        return f"{where.kind.capitalize()} {where.number} ({where.id})"
    assert isinstance(where, RepositoryEntry)
    return where.source


def _splits(where: _Rows) -> list[Split | None]:
    """The split of each column."""
    if isinstance(where, RepositoryEntry):
        return list(where.splits)
    assert isinstance(where, Entry)
    return [where.split] * len(where.columns)


@lru_cache(maxsize=1)
def paper_numbers() -> PaperNumbers:
    """The published numbers that come with the package."""
    return PaperNumbers()
