"""What the tables try, what was run, which checkpoint is chosen, what the paper claims."""
