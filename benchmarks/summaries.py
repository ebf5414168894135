"""What the summaries of benchmarks share: rows read from JSON, a wide table printed, an axis of epsilon."""

import json

import pandas as pd


def read_rows(paths):
    """All rows of the files, a JSON object a line each."""
    rows = pd.DataFrame([json.loads(line) for path in paths for line in path.read_text().splitlines()])
    if rows.empty:
        raise SystemExit("no rows: run the benchmark first, or say where they lie")
    return rows


def show(table):
    """Print all columns, side by side."""
    with pd.option_context("display.width", 250, "display.max_columns", None):
        print(table)


def epsilon_axis(panel, ticks):
    """Make the horizontal axis one of epsilon, on a logarithmic scale, with a grid."""
    panel.set(xscale="log", xlabel="epsilon (delta = 1e-5)")
    panel.set_xticks(ticks, [f"{epsilon:g}" for epsilon in ticks])
    panel.minorticks_off()
    panel.grid(alpha=0.3)
