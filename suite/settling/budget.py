"""What a user asks for: until what, and for how long."""

from suite.errors import SuiteError
from suite.text import parse_duration

_EXAMPLE = "make reproduce-tables UNTIL=settled BUDGET=2h"


def budget_of(until: str, budget: str) -> float | None:
    """The wall time that a session may take, in seconds; None where neither is given.

    Raises:
        SuiteError: One is given without the other, UNTIL is unknown, or BUDGET is no duration above 0.
    """
    if not until and not budget:
        return None
    if not until:
        raise SuiteError(f"BUDGET={budget}: a budget is for UNTIL=settled, which is not given.", _EXAMPLE)
    if until != "settled":
        raise SuiteError(f"UNTIL={until}: expected 'settled'.", _EXAMPLE)
    if not budget:
        raise SuiteError("UNTIL=settled: BUDGET is missing, and training might never end.", _EXAMPLE)
    seconds = parse_duration(budget)
    if seconds is None:
        raise SuiteError(
            f"BUDGET={budget}: expected a duration above 0, like 90m, 45min, 2h, 1.5h or 1h30m.", _EXAMPLE
        )
    return seconds
