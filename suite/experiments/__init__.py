"""Experiments: the schema of their files, their expansion into runs, run identity and the plan."""
