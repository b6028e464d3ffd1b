"""The three protocols by their letter, one detection at a time, in exact arithmetic: slow, and easy to check.

Rows are (video, label, start, end) and (video, label, start, end, score); numbers are fractions or integers.
"""

from fractions import Fraction


def tiou(a, b):
    overlap = max(min(a[3], b[3]) - max(a[2], b[2]), 0)
    union = (a[3] - a[2]) + (b[3] - b[2]) - overlap
    return overlap / union if isinstance(union, float) else Fraction(overlap, union or 1)


def anet(detections, truth, threshold):
    """The surest detection first, of equals the last, takes the best free segment, of equals the last."""
    values = []
    for label in {row[1] for row in truth}:
        wanted = [row for row in truth if row[1] == label]
        own = [(row[4], i, row) for i, row in enumerate(detections) if row[1] == label]
        taken, hits = set(), []
        for _, _, row in sorted(own, key=lambda item: item[:2], reverse=True):
            best = None
            for j, segment in enumerate(wanted):
                value = tiou(row, segment)
                if (
                    segment[0] == row[0]
                    and j not in taken
                    and value >= threshold
                    and (best is None or value >= best[0])
                ):
                    best = (value, j)
            taken |= {best[1]} if best else set()
            hits.append(best is not None)
        area = Fraction(0)
        for i, hit in enumerate(hits):
            if hit:  # precision here or, if that is better, at any higher recall
                area += max(Fraction(sum(hits[: k + 1]), k + 1) for k in range(i, len(hits)))
        values.append(area / len(wanted))
    return float(sum(values) / len(values))


def thumos(detections, truth, threshold):
    """Each segment in order takes the best free detection; ambiguous ones excuse what touches them."""
    values = []
    ambiguous = [row for row in truth if row[1] == "Ambiguous"]
    for label in {row[1] for row in truth} - {"Ambiguous"}:
        wanted = [row for row in truth if row[1] == label]
        own = sorted((row for row in detections if row[1] == label), key=lambda row: -row[4])
        right = set()
        for segment in wanted:
            free = [i for i, row in enumerate(own) if row[0] == segment[0] and i not in right]
            best = max(free, key=lambda i: tiou(own[i], segment), default=None)
            if best is not None and tiou(own[best], segment) > threshold:
                right.add(best)
        counted = [
            (-row[4], i not in right)
            for i, row in enumerate(own)
            if i in right or not any(row[0] == other[0] and tiou(row, other) > 0 for other in ambiguous)
        ]
        misses = [miss for _, miss in sorted(counted)]
        values.append(mean_precision(misses, len(wanted)))
    return float(sum(values) / len(values))


def wtalc(detections, truth, threshold):
    """On a grid of 25 / 16 a second: the surest detection takes the first free segment it overlaps enough."""
    detections, truth = [on_grid(row) for row in detections], [on_grid(row) for row in truth]
    ambiguous = [row for row in truth if row[1] == "Ambiguous"]
    values = []
    for label in {row[1] for row in truth} - {"Ambiguous"}:
        wanted = [row for row in truth if row[1] == label]
        taken, misses = set(), []
        for row in sorted((row for row in detections if row[1] == label), key=lambda row: -row[4]):
            if any(row[0] == other[0] and tiou(row, other) > 0 for other in ambiguous):
                continue
            hits = [
                j
                for j, segment in enumerate(wanted)
                if j not in taken and segment[0] == row[0] and tiou(row, segment) >= threshold
            ]
            taken |= set(hits[:1])
            misses.append(not hits)
        values.append(mean_precision(misses, len(wanted)))
    return float(sum(values) / len(values))


def on_grid(row):
    return (*row[:2], round(row[2] * Fraction(25, 16)), round(row[3] * Fraction(25, 16)), *row[4:])


def mean_precision(misses, wanted):
    """The sum over hits of the precision there, divided by the segments there are."""
    ranks = [i for i, miss in enumerate(misses) if not miss]
    return sum((Fraction(n, rank + 1) for n, rank in enumerate(ranks, 1)), Fraction(0)) / wanted
