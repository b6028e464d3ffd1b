"""The `dgam` command: a shell over the package.

Exit status 0 on success, 2 on bad input or usage with one sentence on stderr, 1 otherwise.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import click

from dgam_core.cli import batch, data
from dgam_core.cli.data import PATH
from dgam_core.errors import InputError

# Modules that import PyTorch are imported by the commands that need them: `dgam evaluate` answers at once.


BEST = 5  # points of a sweep that are printed


@click.group()
def cli() -> None:
    """Weakly-supervised action localization by generative attention modeling (DGAM)."""


for command in (data.import_, data.simulate, data.extract, data.inspect, data.export):
    cli.add_command(command)
cli.add_command(batch.batch)


@cli.command()
@click.argument("file", type=PATH, metavar="FILE.h5")
@click.option(
    "--params", type=PATH, required=True, help="Settings, such as params/demo/table4_ablation.yaml."
)
@click.option("--out", type=PATH, required=True, metavar="RUN_DIR", help="Folder for the trained streams.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Instead of what the settings say."
)
def train(file: Path, params: Path, out: Path, device: str | None) -> None:
    """Train a model for each stream, with the first of the seeds in the settings.

    RUN_DIR becomes a run store: what is finished there already is not trained again. Started by torchrun, the
    processes share the videos.
    """
    from dgam_core.data import store
    from dgam_core.experiments import obtain, run_store
    from dgam_core.experiments.parameters import Experiment
    from dgam_core.system.checked import parse, read_yaml
    from dgam_core.system.machine import choose_device
    from dgam_core.training import processes

    values = read_yaml(params) | {"dataset": str(file)} | ({"device": device} if device else {})
    experiment = parse(Experiment, values, str(params))
    with processes.processes(choose_device(experiment.device)) as (group, where):
        with group.agreeing():
            data = store.read(file)
            if group.rank == 0:
                store.verify(data)  # now, and not after hours
        if group.rank > 0:
            obtain.follow(group, data, where)
            return
        specs = {
            stream: run_store.specify(data, stream, experiment.seeds[0], experiment, where)
            for stream in data.streams
        }
        out.mkdir(parents=True, exist_ok=True)
        obtain.obtain(out, data, list(specs.values()), experiment.workers if group.size == 1 else 1, group)
        group.tell(None)
    run_store.write_pair(out, specs, experiment)
    click.echo(f"{out}: trained {', '.join(data.streams)}")


@cli.command()
@click.argument("params", type=PATH, metavar="SWEEP.yaml")
@click.option("--dataset", metavar="FILE.h5|simulated:NAME", help="Instead of what SWEEP.yaml says.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Instead of what SWEEP.yaml says.")
def sweep(params: Path, dataset: str | None, device: str | None) -> None:
    """Try every combination of some settings' values; a table and a figure of what they give.

    SWEEP.yaml is a notebook's parameter file whose `sweep` names settings, each with a list of values.
    """
    from dgam_core.data import store
    from dgam_core.experiments import grid, places
    from dgam_core.experiments.parameters import Experiment
    from dgam_core.figures import curves
    from dgam_core.system.checked import parse, read_yaml

    given = {name: value for name, value in (("dataset", dataset), ("device", device)) if value}
    experiment = parse(Experiment, read_yaml(params) | given, str(params))
    data = store.open_data_set(experiment.dataset)
    names = grid.check(experiment)
    results = places.Results.of(experiment)
    scores = grid.sweep(data, experiment, results)
    results.save_figure(params.stem, curves.grid(scores, names, experiment.main), results.sweeps)
    results.save_table(params.stem, scores.to_csv(index=False), results.sweeps)
    click.echo(f"{experiment.main} in %, {data.provenance}: mean ± standard deviation over seeds, last epoch")
    ranking = grid.ranking(scores, names)
    for point, own in list(ranking.items())[:BEST]:
        values = point if isinstance(point, tuple) else (point,)
        said = ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))
        click.echo(f"  {own.mean:6.2f} ± {own.sd:.2f}   {said}")
    if len(ranking) > 1:
        click.echo("The best of many, chosen on the videos that it is tested on, promises too much.")
    where = os.path.relpath(results.sweeps / params.stem)
    click.echo(f"{where}.csv, .svg and .png: {len(ranking)} points")


@cli.group()
def checkpoint() -> None:
    """Exchange weights with the authors' released code."""


@checkpoint.command("import")
@click.argument("file", type=PATH, metavar="FILE.h5")
@click.option("--rgb", type=PATH, metavar="CHECKPOINT")
@click.option("--flow", type=PATH, metavar="CHECKPOINT")
@click.option("--out", type=PATH, required=True, metavar="RUN_DIR", help="Folder that `dgam localize` takes.")
@click.option("--preset", type=click.Choice(["paper", "released"]), default="released", show_default=True)
@click.option(
    "--benchmark", type=click.Choice(["thumos14", "activitynet12"]), default="thumos14", show_default=True
)
@click.option(
    "--background",
    type=click.Choice(["first", "last"]),
    default="last",
    show_default=True,
    help="The background's place among the checkpoint's classes.",
)
def import_checkpoint(
    file: Path, rgb: Path | None, flow: Path | None, out: Path, preset: Any, benchmark: Any, background: Any
) -> None:
    """Read checkpoints of the released code, one a stream, whose classes are in the order of FILE.h5."""
    from dgam_core import departures
    from dgam_core.data import store
    from dgam_core.experiments import released_weights

    data = store.read(file)
    paths = {stream: path for stream, path in (("rgb", rgb), ("flow", flow)) if path}
    if not paths:
        raise InputError("give a checkpoint with --rgb or --flow, or one with each")
    released_weights.import_checkpoints(out, data, paths, background, departures.preset(preset, benchmark))
    click.echo(f"{out}: read {', '.join(paths)}; localizes as in the preset {preset}")


@checkpoint.command("export")
@click.argument("run_dir", type=PATH)
@click.option("--out", type=PATH, required=True, metavar="FOLDER", help="Gets STREAM.pth for each stream.")
def export_checkpoint(run_dir: Path, out: Path) -> None:
    """Write the last weights of a run as checkpoints of the released code."""
    from dgam_core.experiments import released_weights, run_store

    pair, _ = run_store.read_pair(run_dir)
    out.mkdir(parents=True, exist_ok=True)
    for stream, run in pair.items():
        released_weights.write_checkpoint(out / f"{stream}.pth", run.trained.weights, run.settings.background)
    click.echo(f"{out}: wrote {', '.join(f'{stream}.pth' for stream in pair)}")


@cli.command()
@click.argument("run_dir", type=PATH)
@click.argument("file", type=PATH, metavar="FILE.h5")
@click.option("--out", type=PATH, required=True, metavar="DETECTIONS.json")
@click.option("--pictures", type=PATH, metavar="FOLDER", help="Gets the time line of each video, VIDEO.png.")
def localize(run_dir: Path, file: Path, out: Path, pictures: Path | None) -> None:
    """Localize actions in the test videos of a store.

    With features of one stream alone, that stream's half of the run is used.
    """
    import torch

    from dgam_core import localize as localization
    from dgam_core.data import activitynet_json, store
    from dgam_core.experiments import model_choice, run_store

    pair, settings = run_store.read_pair(run_dir)
    data = run_store.fit_classes(store.read(file), pair, run_dir)
    if absent := [stream for stream in pair if stream not in data.streams]:
        if len(absent) == len(pair):
            raise InputError(f"{file}: has no {absent[0]} features, which {run_dir} was trained on")
        warnings.warn(f"{file}: has no {absent[0]} features; the other stream localizes alone", stacklevel=1)
        pair = {stream: run for stream, run in pair.items() if stream in data.streams}
    scorer = model_choice.Scorer(data, run_dir, torch.device("cpu"), settings.main_tiou)
    outputs = scorer.outputs(pair, scorer.chosen(pair, settings, settings.model_choice), settings)
    detections = localization.detect(data, outputs, settings)
    activitynet_json.write_detections(out, detections)
    click.echo(f"{out}: {len(detections)} detections in {len(data.subset('test'))} videos")
    if pictures is not None:
        from dgam_core.figures import over_time

        over_time.save_detections(pictures, data, outputs, detections)
        click.echo(f"{pictures}: {len(data.subset('test'))} time lines")


@cli.command()
@click.argument("detections", type=PATH, metavar="DETECTIONS.json")
@click.argument("ground_truth", type=PATH, metavar="GROUND_TRUTH.json")
@click.option("--subset", help="Subset of the ground truth; by itself test, else validation.")
@click.option("--protocol", type=click.Choice(["anet", "thumos", "wtalc"]), default="anet", show_default=True)
@click.option("--test-set", help="Only the videos of thumos14-210, thumos14-211 or thumos14-212.")
@click.option(
    "--ambiguous", type=PATH, help="Segments that may be an action or not: video, start, end a line."
)
@click.option("--tiou", default="0.1:0.9:0.1", metavar="FIRST:LAST:STEP", show_default=True)
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
    diagnose: bool,
    as_json: bool,
) -> None:
    """Print the mean average precision of detections.

    Protocols are those of the ActivityNet code (anet), of the THUMOS14 kit and of W-TALC's code.
    """
    from dgam_core.cli import report
    from dgam_core.data import activitynet_json, test_sets
    from dgam_core.evaluation import mean_ap as evaluation
    from dgam_core.evaluation.diagnosis import diagnose as find_causes

    thresholds = report.read_thresholds(tiou)
    truth = activitynet_json.read_ground_truth(ground_truth, subset)
    found = activitynet_json.read_detections(detections)
    if test_set is not None:
        truth, found = test_sets.restrict(truth, found, test_set)
    segments = truth.segments
    if ambiguous is not None:
        segments = segments.joined(activitynet_json.read_ambiguous(ambiguous))
    result = evaluation.mean_average_precision(found, segments, truth.videos, thresholds, protocol)
    for sentence in report.warnings(result):
        warnings.warn(sentence, stacklevel=1)
    diagnosis = None
    if diagnose:
        at = min(thresholds, key=lambda value: abs(value - 0.5))
        diagnosis = find_causes(found, segments, at, protocol, durations_s=truth.durations_s)
    name = test_sets.recognize(truth.videos)
    if as_json:
        click.echo(json.dumps(report.as_dict(result, name, diagnosis)))
    else:
        click.echo(report.as_text(result, name, diagnosis))


def _warn(message: Warning | str, *_: Any) -> None:
    click.echo(f"dgam: warning: {message}", err=True)


def main() -> None:
    """Run the command and exit with its status."""
    warnings.showwarning = _warn  # type: ignore[assignment]
    # A batch system ends a job by SIGTERM: clean up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(cli.main(prog_name="dgam", standalone_mode=False))
    except InputError as error:
        if os.environ.get("RANK", "0") == "0":  # of several processes that meet it, one says it
            print(f"dgam: {error}", file=sys.stderr)
        sys.exit(2)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        print(f"dgam: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        print("dgam: interrupted; what was finished is kept", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(
            f"dgam: {error.filename}: {error.strerror}" if error.filename else f"dgam: {error}",
            file=sys.stderr,
        )
        sys.exit(1)
