import pytest

from dgam_core.errors import InputError
from dgam_core.experiments.parameters import Experiment
from dgam_core.experiments.places import Results
from dgam_core.system.checked import parse


def test_results_in_a_checkout_of_somebody_else_are_refused_with_a_sentence(
    project, tmp_path, as_another_user
):
    experiment = parse(Experiment, project, "here")
    as_another_user()
    with pytest.raises(InputError, match="results/p/runs: cannot be written: Permission denied; results go"):
        Results.of(experiment)


def test_results_that_somebody_else_has_made_are_refused_with_a_sentence(project, tmp_path, as_another_user):
    experiment = parse(Experiment, project, "here")
    Results.of(experiment)
    as_another_user()
    with pytest.raises(InputError, match="results/p/runs: cannot be written: it is somebody else"):
        Results.of(experiment)
