"""The numbers that the paper prints, `params/published.yaml`."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from dgam_core.errors import InputError
from dgam_core.experiments.places import project_root
from dgam_core.system.checked import read_yaml


@dataclass(frozen=True)
class Published:
    """What the paper prints in a table.

    Attributes:
        data: what it was measured on.
        values: mAP in percent, in Table 2 shares; a row per model or method, by name; a column per tIoU
            threshold, or per value of what the table varies, and "average" where that is printed. NaN
            where the paper prints a dash.
        details: name of a method → its supervision and its features, where the table says them.
        classes: classes of the data set, where the table compares methods.
    """

    data: str
    values: pd.DataFrame
    details: dict[str, str] = field(default_factory=dict)
    classes: int | None = None

    @property
    def thresholds(self) -> list[float]:
        """Return the tIoU thresholds of a table whose columns are such."""
        return [float(column) for column in self.values.columns if column != "average"]


def read_published(table: str) -> Published:
    """Read what the paper prints in a table, such as "table4".

    Raises:
        InputError: the file or the table is missing.
    """
    path = project_root() / "params" / "published.yaml"
    tables = read_yaml(path)
    if table not in tables:
        raise InputError(f"{path}: has no {table!r}; it has {', '.join(tables)}")
    content: dict[str, Any] = tables[table]
    methods = {entry["method"]: entry for entry in content.get("methods", ())}
    rows = content.get("rows") or {name: entry["map"] for name, entry in methods.items()}
    values = pd.DataFrame(rows, index=content["columns"], dtype=float).T
    if any("average" in entry for entry in methods.values()):
        values["average"] = pd.Series({name: entry["average"] for name, entry in methods.items()})
    details = {
        name: ", ".join(entry[key] for key in ("supervision", "feature") if entry.get(key))
        for name, entry in methods.items()
    }
    return Published(content["data"], values, details, content.get("classes"))
