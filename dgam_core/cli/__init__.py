"""The `dgam` command."""
