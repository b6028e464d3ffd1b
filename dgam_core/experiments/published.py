"""The numbers that the paper prints, `params/published.yaml`."""

from __future__ import annotations

from typing import Any

from dgam_core.errors import InputError
from dgam_core.experiments.places import project_root
from dgam_core.system.checked import read_yaml


def read_published(table: str) -> dict[str, Any]:
    """Read what the paper prints in a table: `data`, `columns` and `rows`, mAP in percent.

    Raises:
        InputError: the file or the table is missing.
    """
    path = project_root() / "params" / "published.yaml"
    tables = read_yaml(path)
    if table not in tables:
        raise InputError(f"{path}: has no {table!r}; it has {', '.join(tables)}")
    content: dict[str, Any] = tables[table]
    return content
