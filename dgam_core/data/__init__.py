"""Data sets: on disk, simulated, and as other projects lay them out."""
