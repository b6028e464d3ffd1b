"""What data must have for a notebook or a sweep: checked before hours of training, and not after."""

from collections.abc import Iterable

import numpy as np

from dgam_core.errors import InputError
from dgam_core.evaluation.module_analysis import measurable, set_statistics, video_of_median_change
from dgam_core.experiments.parameters import Experiment
from dgam_core.experiments.variants import NOTEBOOKS
from dgam_core.localize import Outputs
from dgam_core.snippets import DataSet, sample_test


def check_measurable(data: DataSet, variants: Iterable[Experiment], name: str = "") -> None:
    """Check that what a notebook or a sweep is about can be measured on a data set.

    Args:
        data: the data set.
        variants: the settings that are trained and scored.
        name: name of the notebook; a sweep, whatever its name, has detections alone to measure.
    Raises:
        InputError: no test video has a segment, or the notebook's measures of test snippets have none.
    """
    for settings in variants:
        measurable(data, settings.test_without)
        if name in NOTEBOOKS:
            _check_snippets(data, settings, name)


def _check_snippets(data: DataSet, settings: Experiment, name: str) -> None:
    """Check that a notebook's measures of test snippets have snippets to be taken on.

    They are taken on the outputs of no model, all zero: whether there are such snippets, annotations and
    timing alone decide.
    """
    needs = NOTEBOOKS[name].needs
    if not needs:
        return
    blank = {}
    for video in data.subset("test"):
        count = len(sample_test(video.num_snippets, settings.max_snippets, settings.min_snippets))
        # A view of one zero: for thousands of long videos, arrays would take gigabytes.
        tcam = np.broadcast_to(np.float32(0), (count, 1 + len(data.classes)))
        blank[video.name] = Outputs(tcam[:, 0], tcam, tcam[0])
    advice = f"check the segments, and whether snippets of {data.snippet_s:.2g} s are short enough for them"
    try:
        if needs == "action":
            set_statistics(data.without(settings.test_without), blank)
        else:
            video_of_median_change(data, {"": blank}, {"": blank})
    except ValueError:
        reasons = {
            "action": "all segments of the test videos miss the middle of every snippet, so that no snippet "
            f"counts as action, and {name} has nothing to count",
            "contrast": f"no test video has snippets both within actions and outside, which {name} compares",
        }
        raise InputError(f"{data.name}: {reasons[needs]}; {advice}") from None
