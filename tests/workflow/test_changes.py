"""The Snakefile: what changes, failures and damage make of a batch that has run."""

import resource
import shutil

import h5py
import nbformat
import yaml

from dgam_core.experiments import run_store
from tests.workflow.batches import NAMES, change, finish, record, store_of, tables


def test_a_batch_and_what_a_change_redoes(executed):
    assert set(tables(executed)) == {f"{name}.csv" for name in NAMES}
    assert (
        len(store_of(executed)) == 3 * 2 * 2
    )  # values, of which Table 3 has one, and its ceiling; seeds, streams
    notebooks = {name: executed / f"results/tiny/notebooks/{name}.ipynb" for name in NAMES}
    first = {name: path.stat().st_mtime_ns for name, path in notebooks.items()}

    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    status, said = finish(executed)
    assert status == 0
    assert "Nothing to be done" in said
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 10

    assert set(record(executed)) == {"claims.json", "record.json", *tables(executed)}
    status, said = finish(executed, "record=mine", target="all")
    assert status == 0
    assert "Nothing to be done" in said  # a record asks for no site

    trained = {name: path.stat().st_mtime_ns for name, path in store_of(executed).items()}
    change(executed, "table7_beta", sweep={"beta": [0.1, 0.4, 0.7]})
    assert finish(executed)[0] == 0
    second = {name: path.stat().st_mtime_ns for name, path in notebooks.items()}
    assert second["table3_thumos14"] == first["table3_thumos14"]
    assert second["table7_beta"] > first["table7_beta"]
    after = {name: path.stat().st_mtime_ns for name, path in store_of(executed).items()}
    assert len(after) == len(trained) + 2 * 2  # seeds, streams of the new value
    assert trained.items() < after.items()


def test_a_notebook_that_fails_does_not_take_the_others_with_it(executed):
    published = executed / "params/published.yaml"
    whole = yaml.safe_load(published.read_text(encoding="utf-8"))
    published.unlink()  # a link
    published.write_text(yaml.safe_dump({name: whole[name] for name in whole if name != "table7"}))
    (executed / "results/tiny/notebooks/table3_thumos14.ipynb").unlink()
    status, said = finish(executed)
    assert status == 1
    assert f"InputError: {published}: has no 'table7'; it has figure4, table1, " in said
    assert "see results/tiny/notebooks/table7_beta.failed.ipynb" in said
    assert {path.name for path in (executed / "results/tiny/notebooks").iterdir()} == {
        "table3_thumos14.ipynb",
        "table7_beta.failed.ipynb",
    }
    published.write_text(yaml.safe_dump(whole))
    assert finish(executed)[0] == 0
    assert not (executed / "results/tiny/notebooks/table7_beta.failed.ipynb").exists()


def test_a_notebook_that_would_refuse_its_parameters_stops_the_batch_before_it_trains(executed):
    before = set(store_of(executed))
    change(executed, "table3_thumos14", seeds=[7])
    change(executed, "table7_beta", sweep={"latent_dim": [3, 4]})
    status, said = finish(executed)
    assert status == 1
    assert "dgam: table7_beta: parameters: sweep: should name beta, not latent_dim" in said
    assert set(store_of(executed)) == before


def test_the_site_is_of_the_profile_asked_for_and_of_all_its_notebooks(executed):
    """With a command in place of jupyter-book, which `test_site.py` tests."""
    (executed / "book").unlink()
    (executed / "book").mkdir()
    (executed / "bin").mkdir()
    (executed / "bin/jupyter-book").write_text(
        "#!/bin/sh\nmkdir -p book/_build/html\n> book/_build/html/index.html"
    )
    (executed / "bin/jupyter-book").chmod(0o755)
    (executed / "params/tiny/table7_beta.yaml").unlink()
    shutil.copytree(executed / "params/tiny", executed / "params/other")
    shutil.copytree(executed / "results/tiny/runs", executed / "results/other/runs")  # trained already
    (executed / "params/other/table3_thumos14.yaml").write_text(
        (executed / "params/tiny/table3_thumos14.yaml").read_text().replace("profile: tiny", "profile: other")
    )

    def built(profile):
        status, said = finish(executed, f"profile={profile}", target="all")
        assert status == 0, said
        page = nbformat.read(executed / "book/notebooks/table3_thumos14.ipynb", as_version=4)
        return page.metadata["papermill"]["parameters"]["profile"], said

    assert built("tiny")[0] == "tiny"
    first = (executed / "results/tiny/notebooks/table3_thumos14.ipynb").stat().st_mtime_ns
    assert built("other")[0] == "other"
    assert built("tiny")[0] == "tiny"
    assert (executed / "results/tiny/notebooks/table3_thumos14.ipynb").stat().st_mtime_ns == first
    assert "Nothing to be done" in built("tiny")[1]
    for path in (executed / "results/tiny").iterdir():
        if path.name != "runs":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert built("tiny")[0] == "tiny"
    assert set(tables(executed)) == {"table3_thumos14.csv"}


def test_a_damaged_run_is_trained_again_and_a_damaged_store_refused(executed):
    before = tables(executed)
    for path in list(store_of(executed).values())[:2]:
        (path / "weights.safetensors").write_bytes(b"nothing")
    shutil.rmtree(executed / "results/tiny/notebooks")
    (executed / "results/tiny/plan.json").unlink()
    status, said = finish(executed)
    assert status == 0, said
    assert tables(executed) == before
    assert all(run_store.is_sound(path) for path in store_of(executed).values())

    with h5py.File(executed / "tiny.h5", "r+") as file:
        file["features/rgb/v1"][0, 0] += 1
    status, said = finish(executed)
    assert status == 1
    assert "dgam: tiny: the contents differ from the digest; the file was changed or is damaged" in said
    assert tables(executed) == before
