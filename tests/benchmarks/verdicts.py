"""Do other seeds come to the same verdicts? `python -m tests.benchmarks.verdicts`

The notebooks with claims run as in the profile `demo`, and again with as many other seeds. The verdicts of
both, corrected for their number, are printed side by side; the exit status says whether a claim that both
decide is decided alike.
"""

import json
import sys
import tempfile
from pathlib import Path

import papermill

from dgam_core.experiments.claims import NOT_COMPARABLE, UNDECIDED, verdicts
from dgam_core.system.checked import read_yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "book" / "_ext"))

from companion import claiming_notebooks, glued  # noqa: E402


def other(seeds):
    """As many seeds, none of which is among these."""
    if isinstance(seeds, dict):
        return {preset: other(of_preset) for preset, of_preset in seeds.items()}
    count = seeds if isinstance(seeds, int) else len(seeds)
    return list(range(count, 2 * count))


def claims_of(name, change):
    """The claims that a notebook glues, as dictionaries."""
    parameters = read_yaml(ROOT / "params" / "demo" / f"{name}.yaml")
    parameters |= {"seeds": change(parameters["seeds"])}
    with tempfile.TemporaryDirectory() as folder:
        done = Path(folder) / "done.ipynb"
        papermill.execute_notebook(
            ROOT / "notebooks" / f"{name}.ipynb", done, parameters, cwd=ROOT, progress_bar=False
        )
        return json.loads(glued(json.loads(done.read_text(encoding="utf-8")), "claims") or "[]")


def main():
    """Print both tables; exit with 1 where a claim is decided in both, and not alike."""
    by_set = []
    for change in (lambda seeds: seeds, other):
        found = [(name, claim) for name in claiming_notebooks() for claim in claims_of(name, change)]
        said = verdicts([claim["evidence"] for _, claim in found])
        by_set.append([(name, claim, which) for (name, claim), (which, _) in zip(found, said, strict=True)])
    differs = False
    print("| where | claim | preset | first seeds | | other seeds | |\n|---|---|---|---|---|---|---|")
    for (name, claim, first), (_, again, second) in zip(*by_set, strict=True):
        cells = [name, claim["claim"], claim["preset"], first, claim["measured"], second, again["measured"]]
        print("| " + " | ".join(cells) + " |")
        differs |= first != second and not {first, second} & {UNDECIDED, NOT_COMPARABLE}
    print("\nSome claim is decided differently." if differs else "\nNo claim is decided differently.")
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
