"""Training: the losses of `stages` computed fast."""
