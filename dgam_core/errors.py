"""The error that means: the input is wrong, not the program."""


class InputError(ValueError):
    """Bad input from a user: one sentence that says what, where and what to do.

    The command line prints the sentence and exits with status 2; a notebook
    shows it in place of a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        # IPython's hook for exceptions that render themselves: the sentence is all a reader needs.
        return [f"InputError: {self}"]
