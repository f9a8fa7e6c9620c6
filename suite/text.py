"""Texts for people."""

import re
from collections.abc import Sequence


def duration(seconds: float) -> str:
    """Text for a duration: ``45 s``, ``12 min``, ``3 h 20 min``, ``1,250 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds > 100 * 3600:
        return f"{seconds / 3600:,.0f} h"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def parse_duration(text: str) -> float | None:
    """The seconds of ``90m``, ``45min``, ``2h``, ``1.5h`` or ``1h30m``; None for anything else, and for 0."""
    number = r"\d+(?:\.\d+)?"
    found = re.fullmatch(rf"(?:({number})\s*h)?\s*(?:({number})\s*m(?:in)?)?", text.strip().lower())
    if found is None:
        return None
    hours, minutes = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes or None


def megabytes(number: float) -> str:
    """Text for a size in MB: ``60 MB``, ``2.4 GB``."""
    return f"{number:.0f} MB" if number < 1000 else f"{number / 1000:,.1f} GB"


def one_line(text: str) -> str:
    """The lines of a text in one, for a place that has no more."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun, which takes an s if no plural is given: ``1 run``, ``1,000 images``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {plural or noun + 's'}"


def listed(values: Sequence[object], most: int = 4) -> str:
    """Values separated by commas, the first of them where there are many: ``a, b, c, d and 3 more``."""
    more = f" and {len(values) - most:,} more" if len(values) > most else ""
    return ", ".join(str(value) for value in values[:most]) + more
