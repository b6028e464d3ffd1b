from dgam_core.segments import SegmentTable


def table(*rows):
    """A table of segments from rows of (video, label, start, end), and of detections, which have a score."""
    return SegmentTable.from_rows([(*row, 0.0) if len(row) == 4 else row for row in rows])
