"""The command line: ``sinkgen``, or ``python -m sinkgen``. Needs the extra ``sinkgen[cli]``."""
