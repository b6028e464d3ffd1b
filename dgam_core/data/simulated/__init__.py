"""Simulated data sets: when things happen in a video, and what its snippets look like."""
