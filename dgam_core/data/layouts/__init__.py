"""Readers of the on-disk layouts in public use; each returns a data set that reads its features lazily."""

from collections.abc import Callable
from pathlib import Path

from dgam_core.data.layouts.acmnet import read_acmnet
from dgam_core.data.layouts.actionformer import read_actionformer
from dgam_core.data.layouts.basnet import read_basnet
from dgam_core.data.layouts.released import read_dgam
from dgam_core.data.layouts.shrec21 import read_shrec21
from dgam_core.data.layouts.wtalc import read_wtalc
from dgam_core.snippets import DataSet

# Name of a layout → its reader, called with the folder, frames per second and frames per snippet.
READERS: dict[str, Callable[[Path, float | None, int | None], DataSet]] = {
    "dgam": read_dgam,
    "basnet": read_basnet,
    "acmnet": read_acmnet,
    "wtalc": read_wtalc,
    "actionformer": read_actionformer,
    "shrec21": read_shrec21,
}
