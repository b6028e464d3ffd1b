"""The `dgam` command for tests: in this process, which has PyTorch already, or in one of its own."""

import contextlib
import io
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import pytest

from dgam_core.cli.main import main

DGAM = Path(sys.executable).parent / "dgam"
SILENT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)  # in any interpreter


def dgam(*arguments, cwd=None) -> subprocess.CompletedProcess:
    """Run the command's `main` here; return its exit status and output."""
    arguments = list(map(str, arguments))
    out, err, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    with (
        contextlib.chdir(cwd or Path.cwd()),
        mock.patch.object(sys, "argv", ["dgam", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
        pytest.raises(SystemExit) as exit_,
    ):
        warnings.resetwarnings()
        for category in SILENT:
            warnings.simplefilter("ignore", category)
        main()
    signal.signal(signal.SIGTERM, before)
    return subprocess.CompletedProcess(arguments, exit_.value.code or 0, out.getvalue(), err.getvalue())


def dgam_process(*arguments, cwd=None) -> subprocess.CompletedProcess:
    """Run the command in a process of its own, as a user does."""
    return subprocess.run([DGAM, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=300)


def refused(*arguments, cwd=None, run=dgam) -> str:
    """Run a command that must fail on its input; return its one sentence."""
    done = run(*arguments, cwd=cwd)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("dgam: ")
    assert done.stderr.count("\n") == 1
    return done.stderr
