"""Run the benchmarks on this machine, print them, and keep them in `params/benchmarks.json` for the book."""

import json
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from dgam_core.system.files import whole_file

HERE = Path(__file__).parent
RECORD = HERE.parents[1] / "params" / "benchmarks.json"


def condensed(content):
    """What the book shows, of all that pytest-benchmark notes: nothing that names a machine's owner."""
    machine = content["machine_info"]
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
    cores = f"{machine['cpu']['count']} cores of {machine['cpu']['brand_raw']}"
    gpu = f" and one {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return {
        "machine": cores + gpu,
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
    with whole_file(RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{record['machine']}, torch {record['torch']}; the shortest of several rounds")
    first = {}
    for row in record["rows"]:
        base = first.setdefault(row["group"], row["seconds"])
        ratio = f"{row['seconds'] / base:7.3f} ×" if base != row["seconds"] else ""
        print(f"{row['group']:75} {row['name']:25} {row['seconds']:9.4f} s {ratio}  {row['note']}")


if __name__ == "__main__":
    main()
