"""Files, processes and machines: what any program needs, nothing of the paper."""
