"""The `dgam` command.

Exit status 0 on success, 2 on bad input or usage with one sentence on stderr, 1 otherwise.
"""

import io
import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dgam_core.cli.batch import batch
from dgam_core.cli.data import PATH, export, extract, import_, inspect, simulate
from dgam_core.errors import InputError

if TYPE_CHECKING:
    from dgam_core.snippets import DataSet

# Modules that import PyTorch are imported by the commands that need them: `dgam evaluate` answers at once.

POINTS_PRINTED = 5  # of a sweep, the best ones


@click.group()
def cli() -> None:
    """Weakly-supervised action localization by generative attention modeling (DGAM)."""


for command in (import_, simulate, extract, inspect, export, batch):
    cli.add_command(command)


@cli.command()
@click.argument("file", type=PATH, metavar="FILE.h5")
@click.option(
    "--params", type=PATH, required=True, help="Settings, such as params/demo/table4_ablation.yaml."
)
@click.option("--out", type=PATH, required=True, metavar="RUN_DIR", help="Folder for the trained streams.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Overrides the settings.")
@click.option("--method", metavar="NAME", help="dgam, or a method it is compared with, such as stpn.")
def train(file: Path, params: Path, out: Path, device: str | None, method: str | None) -> None:
    """Train a model per stream, with the first seed of the settings.

    RUN_DIR becomes a run store: runs that are finished there are not trained again. Processes started by
    torchrun share the videos.
    """
    from dgam_core.data import soundness, store
    from dgam_core.experiments import obtain, own, run_store
    from dgam_core.experiments.parameters import main_preset
    from dgam_core.system.machine import choose_device
    from dgam_core.training import processes

    given = {name: value for name, value in (("device", device), ("method", method)) if value}
    experiment = own.read_experiment(params, {"dataset": str(file)} | given)
    with processes.processes(choose_device(experiment.device)) as (group, process_device):
        with group.agreeing():
            data = store.read(file)
            if group.rank == 0:
                store.verify(data)  # before hours of training, not after
                for sentence in soundness.single_class(data):
                    warnings.warn(f"{file}: {sentence}", stacklevel=1)
        if group.rank > 0:
            obtain.follow(group, data, process_device)
            return
        specs = {
            stream: run_store.specify(
                data, stream, experiment.seeds[0], experiment, process_device, experiment.rival
            )
            for stream in experiment.streams(data)
        }
        if experiment.profile == own.PROFILE:
            click.echo(f"{file}: {own.describe(data, experiment)}")
        out.mkdir(parents=True, exist_ok=True)
        obtain.obtain(out, data, list(specs.values()), experiment.workers if group.size == 1 else 1, group)
        group.tell(None)
    run_store.write_pair(out, specs, experiment)
    preset = main_preset(experiment.preset)
    method_on = "" if experiment.rival is None else f"{experiment.method} on "
    click.echo(f"{out}: trained {method_on}{', '.join(specs)} as in the preset {preset}")
    if experiment.rival is None and any(video.subset == "test" for video in data.videos):
        _warn_of_collapse(out, data)


def _warn_of_collapse(run_dir: Path, data: "DataSet") -> None:
    """Warn of streams whose training has collapsed, as their outputs on the test videos show."""
    import torch

    from dgam_core.evaluation.collapse import collapses
    from dgam_core.experiments import model_choice, run_store

    pair, settings = run_store.read_pair(run_dir)
    scorer = model_choice.Scorer(data, run_dir, torch.device("cpu"), settings.main_tiou)
    outputs = scorer.outputs(pair, scorer.chosen(pair, settings, "last"), settings)
    for stream, how in collapses(outputs, settings).items():
        warnings.warn(
            f"{run_dir}: the training of {stream} has collapsed: {how}; another seed may do better",
            stacklevel=1,
        )


@cli.command()
@click.argument("params", type=PATH, metavar="SWEEP.yaml")
@click.option("--dataset", metavar="FILE.h5|simulated:NAME", help="Overrides SWEEP.yaml.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Overrides SWEEP.yaml.")
def sweep(params: Path, dataset: str | None, device: str | None) -> None:
    """Train and score every combination of the values of some settings; write a table and a figure.

    SWEEP.yaml is a parameter file of a notebook in which `sweep` names settings, each with a list of values.
    With held_out, points are ranked by the loss on the training videos held out, or else by mAP.
    """
    from dgam_core.data import store
    from dgam_core.experiments import grid, own, places
    from dgam_core.figures import curves

    overrides = {name: value for name, value in (("dataset", dataset), ("device", device)) if value}
    experiment = own.read_experiment(params, overrides)
    data = store.open_data_set(experiment.dataset)
    names, _ = grid.names_and_points(experiment)
    results = places.Results.of(experiment)
    scores = grid.sweep(data, experiment, results)
    results.save_figure(params.stem, curves.grid(scores, names, experiment.main), results.sweeps)
    results.save_table(params.stem, scores.to_csv(index=False), results.sweeps)
    measured = "loss on the training videos held out" if experiment.held_out else f"{experiment.main} in %"
    click.echo(f"{measured}, {data.provenance}: mean ± standard deviation over seeds, last epoch")
    ranking = grid.ranking(scores, names)
    for point, summary in list(ranking.items())[:POINTS_PRINTED]:
        values = point if isinstance(point, tuple) else (point,)
        settings = ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))
        click.echo(f"  {summary.mean:6.3f} ± {summary.sd:.3f}   {settings}")
    if len(ranking) > 1 and not experiment.held_out:
        click.echo("The best of many points, chosen on the videos of its test, promises too much.")
    path = os.path.relpath(results.sweeps / params.stem)
    click.echo(f"{path}.csv, .svg and .png: {len(ranking)} points")


@cli.group()
def checkpoint() -> None:
    """Exchange weights with the authors' released code."""


@checkpoint.command("import")
@click.argument("file", type=PATH, metavar="FILE.h5")
@click.option("--rgb", type=PATH, metavar="CHECKPOINT")
@click.option("--flow", type=PATH, metavar="CHECKPOINT")
@click.option("--out", type=PATH, required=True, metavar="RUN_DIR", help="Folder for `dgam localize`.")
@click.option("--preset", type=click.Choice(["paper", "released"]), default="released", show_default=True)
@click.option(
    "--benchmark", type=click.Choice(["thumos14", "activitynet12"]), default="thumos14", show_default=True
)
@click.option(
    "--background",
    type=click.Choice(["first", "last"]),
    default="last",
    show_default=True,
    help="Position of the background among the classes of the checkpoint.",
)
def import_checkpoint(
    file: Path, rgb: Path | None, flow: Path | None, out: Path, preset: Any, benchmark: Any, background: Any
) -> None:
    """Read checkpoints of the released code, one per stream, whose classes are in the order of FILE.h5."""
    from dgam_core import departures
    from dgam_core.data import store
    from dgam_core.experiments import released_weights

    data = store.read(file)
    paths = {stream: path for stream, path in (("rgb", rgb), ("flow", flow)) if path}
    if not paths:
        raise InputError("give a checkpoint with --rgb or --flow, or one with each")
    released_weights.import_checkpoints(out, data, paths, background, departures.preset(preset, benchmark))
    click.echo(f"{out}: read {', '.join(paths)}; localizes as in the preset {preset}")
    click.echo(
        f"{out}: expects features of the network that it was trained on, for the authors' checkpoints the "
        "I3D features that they published; those of other weights mean nothing to it"
    )


@checkpoint.command("export")
@click.argument("run_dir", type=PATH)
@click.option(
    "--out", type=PATH, required=True, metavar="FOLDER", help="Folder for STREAM.pth, one per stream."
)
def export_checkpoint(run_dir: Path, out: Path) -> None:
    """Write the weights of the last epoch as checkpoints of the released code."""
    from dgam_core.experiments import released_weights, run_store

    pair, _ = run_store.read_pair(run_dir)
    if any(run.rival for run in pair.values()):
        raise InputError(f"{run_dir}: is of another method, for which the released code has no checkpoints")
    out.mkdir(parents=True, exist_ok=True)
    for stream, run in pair.items():
        released_weights.write_checkpoint(out / f"{stream}.pth", run.trained.weights, run.settings.background)
    click.echo(f"{out}: wrote {', '.join(f'{stream}.pth' for stream in pair)}")


@cli.command()
@click.argument("run_dir", type=PATH)
@click.argument("file", type=PATH, metavar="FILE.h5")
@click.option("--out", type=PATH, required=True, metavar="DETECTIONS.json")
@click.option("--pictures", type=PATH, metavar="FOLDER", help="Folder for time line figures, VIDEO.png.")
def localize(run_dir: Path, file: Path, out: Path, pictures: Path | None) -> None:
    """Localize actions in the test videos of a store.

    If the store has one stream alone, only the model of that stream is used.
    """
    import torch

    from dgam_core import localize as localization
    from dgam_core.data import activitynet_json, store
    from dgam_core.evaluation.collapse import collapses
    from dgam_core.experiments import model_choice, rival_inference, run_store
    from dgam_core.rivals.loop import parts_of

    pair, settings = run_store.read_pair(run_dir)
    data = run_store.fit_classes(store.read(file), pair, run_dir)
    rival = rival_inference.rival_of(pair)
    if rival and pictures is not None:
        raise InputError("--pictures: draws the attention of DGAM; leave it out for another method")
    needed = [part for stream in pair for part in parts_of(stream)]
    if absent := [stream for stream in needed if stream not in data.streams]:
        if len(absent) == len(needed) or len(pair) < len(needed):
            raise InputError(f"{file}: has no {absent[0]} features, which {run_dir} was trained on")
        warnings.warn(f"{file}: has no {absent[0]} features; the other stream localizes alone", stacklevel=1)
        pair = {stream: run for stream, run in pair.items() if stream in data.streams}
    if unused := [stream for stream in data.streams if stream not in needed]:
        warnings.warn(f"{file}: {run_dir} was not trained on {unused[0]} and leaves it aside", stacklevel=1)
    for doubt in run_store.doubts_about(data, pair, run_dir):
        warnings.warn(doubt, stacklevel=1)
    scorer = model_choice.Scorer(data, run_dir, torch.device("cpu"), settings.main_tiou)
    chosen = scorer.chosen(pair, settings, settings.model_choice)
    if rival:
        detections = rival_inference.detect(data, scorer.answers(pair, chosen, settings), rival)
    else:
        outputs = scorer.outputs(pair, chosen, settings)
        detections = localization.detect(data, outputs, settings)
    activitynet_json.write_detections(out, detections)
    click.echo(f"{out}: {len(detections)} detections in {len(data.subset('test'))} videos")
    if not len(detections):
        reasons = [] if rival else [f"{s}: {how}" for s, how in collapses(outputs, settings).items()]
        why = "; ".join(reasons) or "what is above the threshold is lost when the streams are fused"
        warnings.warn(f"{out}: nothing is found in any video{'' if rival else f': {why}'}", stacklevel=1)
    if pictures is not None:
        from dgam_core.figures import over_time

        over_time.save_detections(pictures, data, outputs, detections)
        click.echo(f"{pictures}: {len(data.subset('test'))} time line figures")


@cli.command()
@click.argument("detections", type=PATH, metavar="DETECTIONS.json")
@click.argument("ground_truth", type=PATH, metavar="GROUND_TRUTH.json")
@click.option("--subset", help="Subset of the ground truth; by default test, or validation if there is none.")
@click.option(
    "--protocol",
    type=click.Choice(["anet", "thumos", "wtalc", "co2net"]),
    default="anet",
    show_default=True,
    help="The code whose rules and rounding to follow.",
)
@click.option("--test-set", help="Only the videos of thumos14-210, thumos14-211 or thumos14-212.")
@click.option(
    "--ambiguous", type=PATH, help="Segments that may be an action or not: video, start, end per line."
)
@click.option("--tiou", default="0.1:0.9:0.1", metavar="FIRST:LAST:STEP", show_default=True)
@click.option("--exact", is_flag=True, help="Beside it mAP in exact arithmetic, and the difference.")
@click.option("--diagnose", is_flag=True, help="Why detections are wrong and what is missed, at tIoU 0.5.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, values as fractions.")
def evaluate(
    detections: Path,
    ground_truth: Path,
    subset: str | None,
    protocol: str,
    test_set: str | None,
    ambiguous: Path | None,
    tiou: str,
    exact: bool,
    diagnose: bool,
    as_json: bool,
) -> None:
    """Print the mean average precision of detections.

    Both are ActivityNet JSON. Detections may also be text of the THUMOS14 kit (.txt), ActionFormer's
    eval_results.pkl, or CSV: video, start, end, label, score. The ground truth may be the kit's folder of
    annotations or CSV without a score.

    Protocols are those of the ActivityNet code (anet), of the THUMOS14 kit, of W-TALC's code, and of the
    code of CO2-Net and P-MIL.
    """
    import numpy as np

    from dgam_core.cli import report
    from dgam_core.data import activitynet_json, detection_files, test_sets
    from dgam_core.evaluation import diagnosis, mean_ap

    thresholds = report.read_thresholds(tiou)
    truth = detection_files.read_ground_truth(ground_truth, subset)
    table = detection_files.read_detections(detections, ground_truth)
    if truth.without_segments:
        left = ~np.isin(table.video, truth.without_segments)
        warnings.warn(
            f"{ground_truth}: {len(truth.without_segments)} videos have labels and no segments, such as "
            f"{truth.without_segments[0]!r}; they are left out, with {(~left).sum()} detections in them",
            stacklevel=1,
        )
        table = table.take(np.flatnonzero(left))
    if test_set is not None:
        truth, table = test_sets.restrict(truth, table, test_set)
    segments = truth.segments
    if ambiguous is not None:
        segments = segments.joined(activitynet_json.read_ambiguous(ambiguous))
    arguments = (table, segments, truth.videos, thresholds, protocol)
    result = mean_ap.mean_average_precision(*arguments)
    by_exact = mean_ap.mean_average_precision(*arguments, exact=True) if exact else None
    for sentence in report.oddities(result):
        warnings.warn(sentence, stacklevel=1)
    causes = None
    if diagnose:
        threshold = min(thresholds, key=lambda value: abs(value - 0.5))
        causes = diagnosis.diagnose(table, segments, threshold, protocol, durations_s=truth.durations_s)
    name = test_sets.recognize(truth.videos)
    if as_json:
        click.echo(json.dumps(report.as_dict(result, name, causes, by_exact)))
    else:
        click.echo(report.as_text(result, name, causes, by_exact))


def _warn(message: Warning | str, *_: Any) -> None:
    click.echo(f"dgam: warning: {message}", err=True)


def main() -> None:
    """Run the command and exit with its status."""
    warnings.showwarning = _warn  # type: ignore[assignment]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack the letters of a name
            stream.reconfigure(errors="backslashreplace")
    # A batch system ends a job by SIGTERM: clean up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(cli.main(prog_name="dgam", standalone_mode=False))
    except InputError as error:
        status, sentence = 2, str(error)
        if os.environ.get("RANK", "0") != "0":  # of several processes with the same error, one reports it
            sys.exit(status)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        status, sentence = 2, error.format_message()
    except (KeyboardInterrupt, click.Abort):
        status, sentence = 1, "interrupted; what was finished is kept"
    except OSError as error:
        status, sentence = 1, f"{error.filename}: {error.strerror}" if error.filename else str(error)
    print(f"dgam: {sentence}", file=sys.stderr)
    sys.exit(status)
