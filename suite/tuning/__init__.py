"""Optuna studies: a search over a method's options whose trials are ordinary runs."""
