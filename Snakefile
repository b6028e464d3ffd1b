# A profile's notebooks and the site from them:
#
#   plan → train (a stack of runs a job, or several small ones) → notebook → site
#
# `make book` calls it. `snakemake --config profile=thumos14 device=cuda` runs another profile; whatever else
# --config names is a parameter of all its notebooks, instead of what their files in params/ say. `record=NAME` runs
# what params/records.yaml says under that name, without a site.
import hashlib
import json
import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from dgam_core.system.checked import read_yaml, value_of_text

RECIPE = None
if "record" in config:
    from dgam_core.experiments.records import recipe_of

    RECIPE = recipe_of(config["record"])
# A sweep of one's own, a file of params/sweeps, stands for a profile with nothing else.
SWEEP = RECIPE.sweep if RECIPE else config.get("sweep")
if SWEEP:
    FILES = {SWEEP: f"params/sweeps/{SWEEP}.yaml"}
    PROFILE = read_yaml(Path(FILES[SWEEP]))["profile"]
elif RECIPE:
    FILES = {name: str(path) for name, path in RECIPE.files().items()}
    PROFILE = RECIPE.profile
else:
    PROFILE = config.get("profile", "demo")
    FILES = {path.stem: str(path) for path in sorted(Path("params", PROFILE).glob("*.yaml"))}
CELL_S = config.get("cell_timeout", 3600)
OWN = ("profile", "sweep", "record", "cell_timeout", "layout", "source")
# What is in a list, `--config 'seeds=[0, 1]'`, comes as text.
PARAMETERS = {
    name: [value_of_text(str(item)) for item in value] if isinstance(value, list) else value
    for name, value in config.items()
    if name not in OWN
} | (RECIPE.parameters if RECIPE else {})
RESULTS = f"results/{PROFILE}"
NOTEBOOKS = [f"{RESULTS}/notebooks/{name}.ipynb" for name in FILES]
PLAN = f"{RESULTS}/plan_{SWEEP}.json" if SWEEP else f"{RESULTS}/plan.json"

if not FILES:
    profiles = sorted({path.parent.name for path in Path("params").glob("*/*.yaml")} - {"sweeps"})
    raise WorkflowError(f"params/{PROFILE} has no parameters; profiles: {', '.join(profiles)}")
DATASETS = {name: (read_yaml(Path(path)) | config)["dataset"] for name, path in FILES.items()}
STORES = {name: [dataset] for name, dataset in DATASETS.items() if not dataset.startswith("simulated:")}
for name, (dataset,) in STORES.items():
    if not config.get("layout") and not Path(dataset).is_file():
        raise WorkflowError(
            f"{FILES[name]}: dataset = {dataset!r}: no such file; make it with `dgam import`, let --config "
            "layout=LAYOUT source=FOLDER do so, or name another with --config dataset=FILE.h5"
        )
if SWEEP:
    from dgam_core.experiments.places import subfolder_of

    SWEPT = str(Path(RESULTS, "sweeps", subfolder_of(DATASETS[SWEEP], Path(RESULTS)), f"{SWEEP}.csv"))
    TARGETS = [SWEPT]
elif RECIPE:
    TARGETS = NOTEBOOKS
else:
    # Notebooks by themselves too: a site that is there would do without those that are not.
    TARGETS = ["book/_build/html/index.html", *NOTEBOOKS]
# By what it says and not by its time: Snakemake runs anew what ran with another.
CODE = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path("dgam_core").rglob("*.py")) if path.parent.name != "cli")
).hexdigest()
BOOK = [
    str(path)
    for pattern in ("*.md", "*.bib", "*/*.md", "_ext/*.py", "_static/*")
    for path in sorted(Path("book").glob(pattern))
    if path.is_file() and path.parts[1] not in ("_build", "notebooks")
]


# Jobs end with the Snakemake that started them, even if that is killed and cannot say so.
os.environ["DGAM_ENDS_WITH"] = str(os.getpid())


wildcard_constraints:
    name=r"\w+",
    job=r"\w+",


localrules: all, notebooks, plan, site


rule all:
    input:
        TARGETS,


rule notebooks:
    input:
        NOTEBOOKS,


if config.get("layout"):

    rule store:
        input:
            config["source"],
        output:
            sorted({store for stores in STORES.values() for store in stores}),
        log:
            f"{RESULTS}/logs/import.log",
        shell:
            "dgam import {config[layout]:q} {input:q} {output:q} 2> >(tee {log:q} >&2)"


checkpoint plan:
    input:
        sorted({store for stores in STORES.values() for store in stores}),
        files=FILES.values(),
    output:
        PLAN,
    message:
        f"plan what {SWEEP or PROFILE} needs"
    params:
        parameters=json.dumps(PARAMETERS),
        code=CODE,
    log:
        f"{RESULTS}/logs/plan.log",
    shell:
        "dgam batch plan {input.files:q} --parameters {params.parameters:q} --out {output:q} 2> >(tee {log:q} >&2)"


def planned():
    """What the plan says; trainings and what waits for them exist only where there is one."""
    return json.loads(Path(PLAN).read_text())


def needs(what):
    """What a training asks for."""
    return lambda wildcards: planned()["jobs"][wildcards.job][what]


def trained(name):
    """The trainings that a notebook or a sweep waits for."""
    checkpoints.plan.get()
    return [f"{RESULTS}/jobs/{job}.json" for job in planned()["notebooks"][name]]


rule train:
    input:
        ancient(PLAN),
    output:
        f"{RESULTS}/jobs/{{job}}.json",
    message:
        "train {params.about}"
    params:
        about=needs("about"),
    log:
        f"{RESULTS}/logs/train_{{job}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_{{job}}.tsv"
    threads: needs("threads")
    resources:
        mem_mb=needs("memory_mb"),
        runtime=needs("minutes"),
        gpu=needs("gpus"),
    shell:
        "dgam batch train {input:q} {wildcards.job} --threads {threads} --out {output:q} 2> >(tee {log:q} >&2)"


rule notebook:
    input:
        lambda wildcards: STORES.get(wildcards.name, []),
        "params/published.yaml",
        notebook="notebooks/{name}.ipynb",
        params=f"params/{PROFILE}/{{name}}.yaml",
        # What is trained is read by what it is, not by when.
        trained=ancient(lambda wildcards: trained(wildcards.name)),
    output:
        f"{RESULTS}/notebooks/{{name}}.ipynb",
    message:
        "notebook {wildcards.name}"
    params:
        parameters=json.dumps(PARAMETERS | {"workers": 1}),
        code=CODE,
    log:
        f"{RESULTS}/logs/{{name}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{name}}.tsv"
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=int(config.get("device") == "cuda"),
    shell:
        "dgam batch run {input.notebook:q} {output:q} --params {input.params:q} --parameters {params.parameters:q}"
        " --cell-timeout {CELL_S} 2> >(tee {log:q} >&2)"


if SWEEP:

    rule sweep:
        input:
            STORES.get(SWEEP, []),
            params=FILES[SWEEP],
            trained=ancient(lambda wildcards: trained(SWEEP)),
        output:
            SWEPT,
        message:
            f"sweep {SWEEP}"
        params:
            given=[f"--{name}={PARAMETERS[name]}" for name in ("dataset", "device") if name in PARAMETERS],
            code=CODE,
        log:
            f"{RESULTS}/logs/sweep_{SWEEP}.log",
        resources:
            mem_mb=4000,
            runtime=120,
            gpu=int(config.get("device") == "cuda"),
        shell:
            "dgam sweep {input.params:q} {params.given:q} 2> >(tee {log:q} >&2)"


rule site:
    input:
        BOOK,
        "_config.yml",
        "_toc.yml",
        Path("params").glob("*.*"),
        Path("params/records").rglob("*.*"),
        notebooks=NOTEBOOKS,
    output:
        "book/_build/html/index.html",
    message:
        "site in book/_build/html"
    params:
        code=CODE,
        profile=PROFILE,  # the site that is there may be another's
    log:
        f"{RESULTS}/logs/site.log",
    shell:
        "dgam batch site {input.notebooks:q} 2> >(tee {log:q} >&2)"
