"""The steps of the Snakefile, one by one."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace

import nbformat
import papermill
import pytest
import tenacity
import yaml

from dgam_core.cli.main import cli
from dgam_core.data import store
from dgam_core.errors import InputError
from tests.cli.command import DGAM, refused
from tests.conftest import ROOT


def batch(*arguments):
    cli.main(["batch", *map(str, arguments)], prog_name="dgam", standalone_mode=False)


@pytest.fixture
def project(tmp_path, tiny, params, monkeypatch):
    """A project with one small profile, on a store, and the notebook of Table 3."""
    folder = tmp_path / "project"
    (folder / "params/tiny").mkdir(parents=True)
    for name in ("dgam_core", "notebooks"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "params/published.yaml").symlink_to(ROOT / "params/published.yaml")
    store.write(folder / "tiny.h5", tiny)
    values = yaml.safe_load(params.read_text()) | {"profile": "tiny", "dataset": "tiny.h5"}
    (folder / "params/tiny/table3_thumos14.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(folder)
    return folder


def notebook(path, source):
    parameters = nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]})
    content = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(source)])
    content.metadata = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    nbformat.write(content, path)
    path.with_suffix(".yaml").write_text("x: 2\n")
    return path, "out.ipynb", "--params", path.with_suffix(".yaml")


def test_a_plan_is_trained_job_by_job(project, capsys):
    (project / "results/tiny").mkdir(parents=True)
    plan = ("plan", "params/tiny/table3_thumos14.yaml", "--out", "results/tiny/plan.json")
    batch(*plan)
    assert capsys.readouterr().out == "results/tiny/plan.json: 4 runs to train\n"  # streams, and the ceiling
    (job,) = json.loads((project / "results/tiny/plan.json").read_text())["jobs"]
    batch("train", "results/tiny/plan.json", job, "--out", "done.json")
    done = json.loads((project / "done.json").read_text())
    assert {path.name for path in (project / "results/tiny/runs").glob("[!.]*")} == set(done["runs"])
    batch(*plan)
    assert capsys.readouterr().out == "results/tiny/plan.json: 0 runs to train\n"
    batch(*plan, "--parameters", '{"seeds": [0, 1]}')
    assert capsys.readouterr().out == "results/tiny/plan.json: 4 runs to train\n"  # of the second seed


def test_what_is_wrong_with_a_profile_is_said(project):
    path = project / "params/tiny/table3_thumos14.yaml"
    good = path.read_text()
    path.write_text(good.replace("epochs: 3", "epohcs: 3"))
    (project / "results/tiny").mkdir(parents=True)
    plan = ("batch", "plan", path, "--out", "results/tiny/plan.json")
    assert "unknown parameter 'epohcs'; did you mean 'epochs'?" in refused(*plan, cwd=project)
    path.write_text(good.replace("profile: tiny", "profile: other"))
    assert "table3_thumos14.yaml: profile = 'other': plan it in results/other" in refused(*plan, cwd=project)
    assert list((project / "results/tiny").iterdir()) == []


MISSED = (
    "dgam: {0}: tiny: all segments of the test videos miss the middle of every snippet, so that no snippet "
    "counts as action, and {0} has nothing to count; check the segments, and whether snippets of 1 s are "
    "short enough for them"
)


def test_what_cannot_be_measured_is_refused_before_it_is_trained(project, tiny):
    """The sentence is that of the notebook itself, see tests/experiments/test_study.py."""
    (project / "results/tiny").mkdir(parents=True)
    table3 = "params/tiny/table3_thumos14.yaml"
    names = ("calibration", "figure1_confusion", "table2_attention_statistics")
    of_snippets = [f"params/tiny/{name}.yaml" for name in names]
    for path in of_snippets:
        (project / path).write_text((project / table3).read_text())
    plan = ("batch", "plan", "--out", "results/tiny/plan.json", table3)
    # Snippets of 1 s have their middles at 2.5 s, 3.5 s, …
    videos = tuple(
        replace(v, segments=(replace(v.segments[0], start_s=2.6, end_s=3.4),)) if v.subset == "test" else v
        for v in tiny.videos
    )
    (project / "tiny.h5").unlink()
    store.write(project / "tiny.h5", replace(tiny, videos=videos))
    assert refused(*plan, of_snippets[2], cwd=project).strip() == MISSED.format(names[2])
    assert refused(*plan, *of_snippets, cwd=project).strip() == (
        f"{MISSED.format(names[0])} (3 such notebooks: {', '.join(names)})"
    )
    assert list((project / "results/tiny").iterdir()) == []
    batch(*plan[1:])  # the detections of Table 3 can be measured
    assert (project / "results/tiny/plan.json").is_file()


def test_a_notebook_runs_with_its_parameters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    batch("run", *notebook(tmp_path / "a.ipynb", "print('x is', x, y)"), "--parameters", '{"y": [3]}')
    text = (tmp_path / "out.ipynb").read_text()
    assert "x is 2 [3]" in text
    assert "jupytext" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ipynb", "a.yaml", "out.ipynb"]


def test_a_notebook_that_fails_leaves_what_it_got_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"a\.ipynb: ValueError: no good; see out\.failed\.ipynb"):
        batch("run", *notebook(tmp_path / "a.ipynb", "print('so far'); raise ValueError('no good')"))
    assert not (tmp_path / "out.ipynb").exists()
    text = (tmp_path / "out.failed.ipynb").read_text()
    assert "so far" in text
    assert "no good" in text


def test_a_cell_has_a_time_limit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"a\.ipynb: a cell took longer than 1 s; see out\.failed\.ipynb"):
        batch(
            "run",
            *notebook(tmp_path / "a.ipynb", "import time; time.sleep(60)"),
            "--cell-timeout",
            "1",
        )
    assert not (tmp_path / "out.ipynb").exists()


def test_a_kernel_that_does_not_start_is_started_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    waits, starts, real = [], [], papermill.execute_notebook

    def execute(*arguments, **options):
        starts.append(1)
        if len(starts) < 3:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return real(*arguments, **options)

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    monkeypatch.setattr(tenacity.nap.time, "sleep", waits.append)
    batch("run", *notebook(tmp_path / "a.ipynb", "print(x)"))
    assert len(starts) == 3
    assert len(waits) == 2
    assert (tmp_path / "out.ipynb").is_file()


def test_what_a_profile_lacks_is_a_page_that_says_so(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("a", "b"):
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# Table {name}\n\nText")])
        nbformat.write(content, tmp_path / f"notebooks/{name}.ipynb")
    (tmp_path / "a.ipynb").write_text("executed")
    tool = tmp_path / "bin/jupyter-book"
    tool.write_text(f"#!{sys.executable}\nimport sys; sys.exit('-W' not in sys.argv)\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {"PATH": f"{tool.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [DGAM, "batch", "site", "a.ipynb"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "book/notebooks/a.ipynb").read_text() == "executed"
    (cell,) = nbformat.read(tmp_path / "book/notebooks/b.ipynb", as_version=4).cells
    assert cell.source.startswith("# Table b\n\nNot part of this build")


def test_a_step_ends_with_what_called_it(tmp_path):
    caller = subprocess.Popen(["sleep", "60"])
    path = tmp_path / "a.ipynb"
    arguments = notebook(path, "import time; time.sleep(60)")
    step = subprocess.Popen(
        [DGAM, "batch", "run", *arguments], cwd=tmp_path, env=os.environ | {"DGAM_ENDS_WITH": str(caller.pid)}
    )
    with pytest.raises(subprocess.TimeoutExpired):
        step.wait(timeout=4)
    caller.kill()
    caller.wait()
    assert step.wait(timeout=10) == 1
