"""Run the benchmarks on this machine, print them, and keep them in `params/records/speed` for the book."""

import json
import re
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from dgam_core.system.files import whole_file
from dgam_core.system.machine import describe

HERE = Path(__file__).parent
RECORDS = HERE.parents[1] / "params" / "records" / "speed"


def condensed(content):
    """What the book shows, of all that pytest-benchmark notes: nothing that names a machine's owner."""
    rows = []
    for entry in content["benchmarks"]:
        info = entry["extra_info"]
        name = entry["params"].get("implementation") if entry["params"] else None
        rows.append(
            {
                "about": Path(entry["fullname"].partition("::")[0]).stem.removeprefix("bench_"),
                "group": entry["group"],
                "name": name or entry["name"],
                "seconds": entry["stats"]["min"] / info.get("share", 1),
                "rounds": entry["stats"]["rounds"],
                "note": info.get("note", ""),
            }
        )
    groups = [row["group"] for row in rows]
    rows.sort(key=lambda row: groups.index(row["group"]))
    return {
        "machine": describe(),
        "torch": torch.__version__,
        "date": content["datetime"][:10],
        "rows": rows,
    }


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmarks.json"
        files = sorted(map(str, HERE.glob("bench_*.py")))
        status = pytest.main([*files, "--benchmark-quiet", f"--benchmark-json={path}", *sys.argv[1:]])
        if status != 0:
            sys.exit(int(status))
        record = condensed(json.loads(path.read_text(encoding="utf-8")))
    RECORDS.mkdir(parents=True, exist_ok=True)
    with whole_file(RECORDS / f"{re.sub(r'[^A-Za-z0-9]+', '_', record['machine'])}.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{record['machine']}, torch {record['torch']}; the shortest of several rounds")
    first = {}
    for row in record["rows"]:
        base = first.setdefault(row["group"], row["seconds"])
        ratio = f"{row['seconds'] / base:7.3f} ×" if base != row["seconds"] else ""
        print(f"{row['group']:75} {row['name']:25} {row['seconds']:9.4f} s {ratio}  {row['note']}")


if __name__ == "__main__":
    main()
