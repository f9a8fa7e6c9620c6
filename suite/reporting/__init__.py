"""Tables, figures and the page of a report, published numbers beside ours.

Nothing here imports torch but ``pictures/write_formulas.py``, which no report runs.
"""
