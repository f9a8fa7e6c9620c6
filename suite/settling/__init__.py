"""Which seeds are trained next, until the claims are settled or the budget is spent."""
