"""Do other seeds come to the same verdicts? `pytest -s tests/benchmarks/verdicts.py`

The notebooks with claims run as in the profile `demo`, and again with as many other seeds. The verdicts of
both, corrected for their number, are printed side by side; it fails where a claim that both decide is not
decided alike.
"""

import json
import tempfile
from pathlib import Path

import papermill
from companion import claiming_notebooks, glued

from dgam_core.experiments.claims import NOT_COMPARABLE, UNDECIDED, verdicts
from dgam_core.system.checked import read_yaml
from tests.conftest import ROOT


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


def test_other_seeds_decide_no_claim_otherwise():
    by_set = []
    for change in (lambda seeds: seeds, other):
        found = [(name, claim) for name in claiming_notebooks() for claim in claims_of(name, change)]
        said = verdicts([claim["evidence"] for _, claim in found])
        by_set.append([(name, claim, which) for (name, claim), (which, _) in zip(found, said, strict=True)])
    contradictions = []
    print("\n| where | claim | preset | first seeds | | other seeds | |\n|---|---|---|---|---|---|---|")
    for (name, claim, first), (_, again, second) in zip(*by_set, strict=True):
        cells = [name, claim["claim"], claim["preset"], first, claim["measured"], second, again["measured"]]
        print("| " + " | ".join(cells) + " |")
        if first != second and not {first, second} & {UNDECIDED, NOT_COMPARABLE}:
            contradictions.append(cells)
    assert not contradictions
