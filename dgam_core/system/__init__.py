"""Around files and machines: what any program like this needs, and nothing of the paper."""
