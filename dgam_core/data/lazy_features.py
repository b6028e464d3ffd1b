"""Features that stay where they are, on disk or as a seed, until a video's are asked for."""

from collections import UserDict
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray


class LazyFeatures(UserDict[str, Any]):
    """Video → features of one stream, (T, D), loaded anew whenever they are asked for.

    Args:
        load: makes features of a video's source; picklable where other processes need them.
        sources: video → what `load` takes, such as a path.
    """

    def __init__(self, load: Callable[[Any], NDArray[Any]], sources: Mapping[str, Any]) -> None:
        super().__init__(sources)
        self._load = load

    def __getitem__(self, video: str) -> NDArray[Any]:
        return self._load(self.data[video])
