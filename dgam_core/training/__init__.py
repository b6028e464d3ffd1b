"""Training: the same losses fast, resumable, on several processes and on GPUs."""
