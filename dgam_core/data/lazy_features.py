"""Features that stay where they are, on disk or as a seed, until a video's are asked for."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

Source = TypeVar("Source")


class LazyFeatures(Mapping[str, NDArray[Any]], Generic[Source]):
    """Video → features of one stream, (T, D), loaded anew whenever they are asked for.

    Args:
        load: makes features of a video's source; picklable where other processes need them.
        sources: video → what `load` takes, such as a path.
    """

    def __init__(self, load: Callable[[Source], NDArray[Any]], sources: Mapping[str, Source]) -> None:
        self._load, self._sources = load, dict(sources)

    def __getitem__(self, video: str) -> NDArray[Any]:
        return self._load(self._sources[video])

    def __contains__(self, video: object) -> bool:
        return video in self._sources  # Mapping's own would load the features

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)
