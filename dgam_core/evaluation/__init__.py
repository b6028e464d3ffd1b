"""Arrays in, arrays out: matching, mean average precision, what went wrong, intervals over seeds."""
