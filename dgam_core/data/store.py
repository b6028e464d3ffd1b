"""The store: a data set in one HDF5 file, written whole or not at all, checked, its features read lazily.

Layout (readable with plain h5py): `/features/<stream>/<video>` (T, D); `/videos`, `/annotations`,
`/classes`; `/labels` (N, C) multi-hot; attributes `format`, `version`, `name`, `source`, `simulated`, `fps`,
`snippet_frames`, `digest`, and, where that is known, `networks`, stream → digest of the network that made its
features, as JSON. Features that were extracted here have an attribute `origin`, a digest of video, weights
and rate. Where the data is simulated, what each snippet shows: `/kinds/<video>` (T,), 0 in the
background, 1 in context, 2 in action; `/snippet_classes/<video>` (T,), an index of `/classes`, −1 in the
background.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dgam_core.data.faults import refuse
from dgam_core.data.lazy_features import LazyFeatures
from dgam_core.data.simulated import features
from dgam_core.data.simulated.features import Appearance
from dgam_core.data.soundness import check
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Segment, Video, checked_features
from dgam_core.system.files import is_refusal, unreadable, whole_file

FORMAT, VERSION = "dgam-store", 1

_TEXT = h5py.string_dtype()
_VIDEO = np.dtype([("name", _TEXT), ("subset", _TEXT), ("duration_s", "f8"), ("num_snippets", "i8")])
_ANNOTATION = np.dtype([("video", _TEXT), ("label", _TEXT), ("start_s", "f8"), ("end_s", "f8")])
_HEADER = {"name": str, "source": str, "simulated": bool, "fps": float, "snippet_frames": int, "digest": str}
_TRUTH = ("kinds", "snippet_classes")  # groups of the file: video → what its snippets show, (T,)


def write(
    path: Path,
    data: DataSet,
    progress: Callable[[str], object] = lambda _: None,
    *,
    float16: bool = False,
    origins: Mapping[tuple[str, str], str] | None = None,
) -> str:
    """Check a data set and write it to `path`; a file that is there already is replaced.

    Args:
        path: the HDF5 file; its folder must exist.
        data: the data set; its features are read one video at a time.
        progress: called with "<stream>/<video>" after each.
        float16: round the features to float16; the attribute `float16_error` holds the largest difference.
        origins: (stream, video) → what its features were made of and how, for `origins` to read.
    Returns:
        The digest of the contents.
    Raises:
        InputError: the data set is not sound, or too large for float16; nothing is written then.
    """
    check(data)
    with whole_file(path, _size(data, float16)) as temporary, h5py.File(temporary, "w") as file:
        hashes = _header_hash(data)
        error = 0.0
        for stream in data.streams:
            for video, values in _checked(data, stream):
                # float64 doubles the file and no feature extractor is that exact.
                stored = values.astype(np.float32) if values.dtype == np.float64 else values
                if float16:
                    stored = _rounded(stored, f"{video.name}: {stream} features")
                    error = max(error, float(np.abs(values - stored.astype(values.dtype)).max()))
                array = file.create_dataset(f"features/{stream}/{video.name}", data=stored)
                if origin := (origins or {}).get((stream, video.name)):
                    array.attrs["origin"] = origin
                hashes.update(_array_hash(stored))
                progress(f"{stream}/{video.name}")
        data = replace(data, digest=hashes.hexdigest())
        _write_tables(file, data)
        if float16:
            file.attrs["float16_error"] = error
    return data.digest


def _size(data: DataSet, float16: bool) -> int:
    """Return the bytes of the features as they will be stored."""
    snippets = sum(video.num_snippets for video in data.videos)
    first = {stream: data.load(stream, data.videos[0].name) for stream in data.streams}
    per_snippet = sum(x.shape[-1] * (2 if float16 or x.dtype == np.float16 else 4) for x in first.values())
    return int(snippets * per_snippet)


def _rounded(values: NDArray[Any], what: str) -> NDArray[np.float16]:
    if (largest := float(np.abs(values).max())) > float(np.finfo(np.float16).max):
        raise InputError(f"{what} reach {largest:g}, which float16 cannot hold; leave --float16 out")
    return values.astype(np.float16)


def float16_error(path: Path) -> float | None:
    """Return the largest difference that rounding to float16 made in a store; None if it was not done."""
    with h5py.File(path, "r", locking=False) as file:
        value = file.attrs.get("float16_error")
    return None if value is None else float(value)


def digest(path: Path) -> str | None:
    """Return the digest of a store; None for a file that is missing or not a store."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return str(file.attrs["digest"])
    except (OSError, KeyError):
        return None


def origins(path: Path) -> dict[tuple[str, str], str]:
    """Return (stream, video) → what its features were made of and how, where a store tells."""
    with h5py.File(path, "r", locking=False) as file:
        return {
            (stream, video): str(array.attrs["origin"])
            for stream, group in file["features"].items()
            for video, array in group.items()
            if "origin" in array.attrs
        }


def _write_tables(file: h5py.File, data: DataSet) -> None:
    videos = [(v.name, v.subset, v.duration_s, v.num_snippets) for v in data.videos]
    rows = [(v.name, s.label, s.start_s, s.end_s) for v in data.videos for s in v.segments]
    labels = np.array([[name in v.labels for name in data.classes] for v in data.videos], dtype=np.uint8)
    file.create_dataset("videos", data=np.array(videos, dtype=_VIDEO))
    file.create_dataset("annotations", data=np.array(rows, dtype=_ANNOTATION))
    file.create_dataset("classes", data=np.array(data.classes, dtype=object), dtype=_TEXT)
    file.create_dataset("labels", data=labels)
    for group in _TRUTH:
        for name, values in getattr(data, group).items():
            file.create_dataset(f"{group}/{name}", data=values)
    header = {name: getattr(data, name) for name in _HEADER}
    networks = {"networks": json.dumps(dict(data.networks))} if data.networks else {}
    file.attrs.update({"format": FORMAT, "version": VERSION, **header, **networks})


def read(path: Path) -> DataSet:
    """Open a store; features stay on disk until they are asked for.

    Raises:
        InputError: the file is missing, is not a store, or its tables are not sound.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; make a store with `dgam import` or `dgam simulate`")
    try:
        # A store is renamed whole and then only read; some network file systems refuse locks.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        if is_refusal(error):  # otherwise it is HDF5 that does not know the contents
            raise unreadable(path, error) from None
        raise InputError(f"{path}: is not a readable HDF5 file; make it again with `dgam import`") from None
    with file:
        if file.attrs.get("format") != FORMAT:
            raise InputError(f"{path}: is an HDF5 file, but not a store; make one with `dgam import`")
        if file.attrs["version"] != VERSION:
            raise InputError(
                f"{path}: has version {file.attrs['version']} of the store, this program reads {VERSION}"
            )
        try:
            data = _read_tables(file)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: is damaged ({error}); make it again with `dgam import`") from None
    check(data)
    return data


def _read_tables(file: h5py.File) -> DataSet:
    classes = tuple(file["classes"].asstr()[:])
    segments: dict[str, list[Segment]] = {}
    for video, label, start_s, end_s in file["annotations"][:]:
        segment = Segment(label.decode(), float(start_s), float(end_s))
        segments.setdefault(video.decode(), []).append(segment)
    videos = []
    for (name, subset, duration_s, count), row in zip(file["videos"][:], file["labels"][:], strict=True):
        labels = tuple(c for c, present in zip(classes, row, strict=True) if present)
        annotated = tuple(segments.pop(name.decode(), ()))
        videos.append(Video(name.decode(), subset.decode(), float(duration_s), int(count), labels, annotated))
    refuse((name, f"{file.filename}: annotations of an unknown video {name!r}") for name in sorted(segments))
    header = {name: kind(file.attrs[name]) for name, kind in _HEADER.items()}
    truth: dict[str, Any] = {
        group: {name: values[:] for name, values in file[group].items()} for group in _TRUTH if group in file
    }
    load = _StoreFile(Path(file.filename))
    features = {
        stream: LazyFeatures(load, {video: f"features/{stream}/{video}" for video in group})
        for stream, group in file["features"].items()
    }
    networks = dict(json.loads(file.attrs.get("networks", "{}")))
    return DataSet(
        classes=classes, videos=tuple(videos), features=features, networks=networks, **header, **truth
    )


class _StoreFile:
    """Reads arrays of a store, which is opened when first asked for; can be sent to another process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _file(self) -> h5py.File:
        return h5py.File(self._path, "r", locking=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _StoreFile, (self._path,)  # an open file stays where it is

    def __call__(self, name: str) -> h5py.Dataset:
        return self._file[name]


def open_data_set(name: str, appearance: Appearance | None = None) -> DataSet:
    """Open the data set that the parameter `dataset` names: a store, or simulated:NAME at demo scale.

    Args:
        name: the path of a store, or simulated:NAME.
        appearance: how simulated features are made; None for the default.
    Raises:
        InputError: there is no such simulated data set, the store cannot be read, or an appearance is
            given for a store.
    """
    if not name.startswith("simulated:"):
        if appearance is not None:
            raise InputError(
                f"dataset = {name!r}: only simulated features can be made otherwise; give simulated:thumos14"
            )
        return read(Path(name))
    make = features.DATA_SETS.get(name.removeprefix("simulated:"))
    if make is None:
        known = " and ".join(f"simulated:{simulated}" for simulated in features.DATA_SETS)
        raise InputError(f"dataset = {name!r}: the simulated data sets are called {known}")
    data = make(appearance=appearance)
    # Kept: the digest asks for all, and training and measuring do again. At demo scale they are small.
    made = {stream: {v.name: data.load(stream, v.name) for v in data.videos} for stream in data.streams}
    data = replace(data, features=made)
    return replace(data, digest=contents_digest(data))


def verify(data: DataSet) -> None:
    """Read every feature of a store and compare the contents with the digest.

    Raises:
        InputError: a feature array is not sound, or the contents have changed since they were written.
    """
    # In older stores of real features, the digest covers the name as well.
    hashes = [_header_hash(data), _header_hash(data, with_name=True)]
    _add_features(hashes, data)
    if data.digest not in [each.hexdigest() for each in hashes]:
        raise InputError(
            f"{data.name}: the contents differ from the digest; the file was changed or is damaged"
        )


def contents_digest(data: DataSet) -> str:
    """Return the SHA-256 of everything in a data set that can change a result."""
    hashes = _header_hash(data)
    _add_features([hashes], data)
    return hashes.hexdigest()


def _add_features(hashes: Sequence["hashlib._Hash"], data: DataSet) -> None:
    for stream in data.streams:
        for _, values in _checked(data, stream):
            digest = _array_hash(values)
            for each in hashes:
                each.update(digest)


def _header_hash(data: DataSet, with_name: bool = False) -> "hashlib._Hash":
    """Return a hash of everything but the features, and but the name of real ones: a folder may be renamed.

    Simulated data are called by their names, which are fixed.
    """
    header = asdict(replace(data, features={}, kinds={}, snippet_classes={}, digest=""))
    header["fps"] = float(data.fps)  # 25 and 25.0 are written alike
    # The digest of data without these is what it was before there were any.
    del header["snippet_classes"]
    if not data.networks:
        del header["networks"]
    if not (data.simulated or with_name):
        del header["name"]
    hashes = hashlib.sha256(json.dumps(header | {"streams": data.streams}, sort_keys=True).encode())
    for truth in (data.kinds, data.snippet_classes):
        for video in data.videos if truth else ():
            hashes.update(_array_hash(truth[video.name]))
    return hashes


def _checked(data: DataSet, stream: str) -> Iterator[tuple[Video, NDArray[Any]]]:
    """Yield what `checked_features` does; of unsound features, those of all videos are refused together."""
    features = checked_features(data, stream, data.videos)
    for i, video in enumerate(data.videos):
        try:
            yield next(features)
        except InputError as error:
            sound, rest = data.videos[: min(i, 1)], data.videos[i + 1 :]
            unsound = ((other.name, _fault(data, stream, [*sound, other])) for other in rest)
            refuse([(video.name, str(error)), *((name, fault) for name, fault in unsound if fault)])


def _fault(data: DataSet, stream: str, videos: Sequence[Video]) -> str | None:
    """Return what is wrong with the features of videos."""
    try:
        for _ in checked_features(data, stream, videos):
            pass
    except InputError as error:
        return str(error)
    return None


def _array_hash(values: NDArray[Any]) -> bytes:
    hashes = hashlib.sha256(f"{values.dtype.str}{values.shape}".encode())
    hashes.update(np.ascontiguousarray(values).data)
    return hashes.digest()
