"""What a fit would give, before its budget is spent."""
