"""What figures are made of: panels, and groups of categories."""

PANEL_LETTERS = "abcdef"
"""Letters of the panels; a figure with one panel per row has no more panels than these."""

GROUPS = ("square", "slender")
"""Groups of categories that a figure can show."""


def mean_label(group: str) -> str:
    """The label of the column that holds the mean over a group of categories."""
    return f"mean of {group}"
