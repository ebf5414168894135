"""Trials of a fit's promise, by those who hold the records or by none."""
