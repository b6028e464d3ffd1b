"""One set of versions: pyproject.toml, requirements.lock, environment.yml and what is installed."""

import tomllib
from importlib.metadata import distributions

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = (ROOT / "requirements.lock").read_text().splitlines()
LOCK = {canonicalize_name(name): version for name, version in (line.split("==") for line in LINES)}


def test_the_lock_pins_every_package_once():
    assert len(LOCK) == len(LINES)
    assert all(Version(version).local is None for version in LOCK.values())


def test_the_lock_satisfies_every_requirement_of_the_project():
    extras = PROJECT["optional-dependencies"].values()
    wanted = [Requirement(text) for texts in (PROJECT["dependencies"], *extras) for text in texts]
    for requirement in wanted:
        assert requirement.specifier.contains(LOCK[canonicalize_name(requirement.name)]), requirement


def test_every_locked_version_installs_on_the_oldest_python_supported():
    assert PROJECT["requires-python"] == ">=3.11"
    wanted = {
        canonicalize_name(d.metadata["Name"]): d.metadata["Requires-Python"] or "" for d in distributions()
    }
    too_new = {name: wanted[name] for name in LOCK if not SpecifierSet(wanted[name]).contains("3.11.0")}
    assert too_new == {}


def test_torch_stays_below_2_14():
    assert Version(LOCK["torch"]) < Version("2.14")
    assert Requirement(next(t for t in PROJECT["dependencies"] if t.startswith("torch"))).specifier.contains(
        "2.13.0"
    )
    assert not Requirement(
        next(t for t in PROJECT["dependencies"] if t.startswith("torch"))
    ).specifier.contains("2.14")


def test_environment_yml_takes_its_versions_from_the_lock():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = content["dependencies"]
    assert conda == ["python=3.11", "pip"]
    assert pip == {"pip": ["--requirement requirements.lock", "--editable ."]}


def test_what_is_installed_is_what_is_locked():
    installed = {canonicalize_name(d.metadata["Name"]): Version(d.version).public for d in distributions()}
    different = {
        name: (installed.get(name), version)
        for name, version in LOCK.items()
        if installed.get(name) != version
    }
    assert different == {}
