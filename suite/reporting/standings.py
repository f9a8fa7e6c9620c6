"""Which method leads a column, and whether that is settled."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """Who leads a column.

    Attributes:
        best: The method with the highest mean.
        settled: Whether it is ahead of every other method.
        rivals: The methods that it is not settled to be ahead of.
    """

    best: str
    settled: bool
    rivals: tuple[str, ...]
