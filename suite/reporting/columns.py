"""Columns of an item, and the published number of each of its cells: what is known without a run."""

from dataclasses import dataclass
from statistics import fmean

from suite.experiments.schema import Experiment, Row
from suite.reporting.figure_parts import mean_label
from suite.reporting.paper_numbers import Answer, PaperNumbers


@dataclass(frozen=True)
class ItemColumn:
    """A column of a table, a point of an axis, or a category.

    Attributes:
        label: Heading.
        metric: Name in the metric registry.
        slice: Slice of images, or None for all.
        published: Column of the published entry, or None.
        categories: Categories whose AP is averaged; empty for a metric over all categories.
        group: Group that the categories belong to, such as ``square``.
        aspect_ratio: Mean aspect ratio of a single category, at least 1.
        objects: Objects of the categories.
    """

    label: str
    metric: str
    slice: str | None = None
    published: str | None = None
    categories: tuple[str, ...] = ()
    group: str | None = None
    aspect_ratio: float | None = None
    objects: int | None = None

    @property
    def is_category(self) -> bool:
        """Whether the column is one category."""
        return len(self.categories) == 1


def columns_of(experiment: Experiment) -> list[ItemColumn]:
    """The columns, as far as the file fixes them; others follow from the dataset's categories."""
    if experiment.columns or experiment.figure is None:
        return [ItemColumn(c.label, c.metric, c.slice, c.published) for c in experiment.columns]
    found = []
    for group, names in experiment.figure.categories.items():
        found += [ItemColumn(name, "AP", categories=(name,), group=group) for name in names]
        found.append(ItemColumn(mean_label(group), "AP", categories=tuple(names), group=group))
    return found


def published_number(experiment: Experiment, row: Row, column: ItemColumn, papers: PaperNumbers) -> Answer:
    """The paper's number. An entry with rows of categories has one detector per column."""
    entry = papers.entry_of(experiment)
    if row.published is None or entry is None:
        return Answer(None, "not published")
    if "category" not in entry.row_keys:
        if column.published is None:
            return Answer(None, "not published")
        return papers.lookup(entry.id, row.published, column.published)
    detector = str(next(iter(row.published.values())))
    names = column.categories
    if column.group is not None and not column.is_category:
        names = tuple(one["category"] for one in entry.rows if one.get("group") == column.group)
    known = {one["category"] for one in entry.rows}
    if not names or not set(names) <= known:
        return Answer(None, "the paper has no such category")
    answers = [papers.lookup(entry.id, {"category": name}, detector) for name in names]
    numbers = [answer.value for answer in answers if answer.value is not None]
    return Answer(fmean(numbers)) if len(numbers) == len(names) else answers[0]
