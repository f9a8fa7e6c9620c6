"""Numbers as they are printed."""

from suite.evaluation.uncertainty import Summary


def number(value: float, unit: str, *, signed: bool = False) -> str:
    """A number as it is printed: percent with one decimal, options in full, others with two or three."""
    if unit == "value":
        return f"{value:+g}" if signed else f"{value:g}"
    return decimal(value, 1 if unit.startswith("%") else 2 if abs(value) >= 1 else 3, signed=signed)


def decimal(value: float, places: int, *, signed: bool = False) -> str:
    """A number with a fixed number of decimals and a true minus sign."""
    text = f"{value:+.{places}f}" if signed else f"{value:.{places}f}"
    return text.replace("-", "−")


def level(summary: Summary, unit: str) -> str:
    """Mean, with the standard deviation over seeds where there are several."""
    text = number(summary.mean, unit)
    return text if summary.spread is None else f"{text} ± {number(summary.spread, unit)}"


def gain(summary: Summary, unit: str) -> str:
    """Paired difference, with its 95 % interval where there are several seeds."""
    text = number(summary.mean, unit, signed=True)
    if summary.interval is None:
        return text
    low, high = (number(bound, unit, signed=True) for bound in summary.interval)
    return f"{text} [{low}, {high}]"
