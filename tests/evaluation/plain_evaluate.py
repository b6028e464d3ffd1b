"""The protocols by their letter, one detection at a time: slow, and easy to check.

Rows are (video, label, start, end) and (video, label, start, end, score). With fractions or integers matching
is exact; with floats it rounds as the protocol's own code does.
"""

from collections import defaultdict
from fractions import Fraction

import numpy as np


def tiou(a, b):
    overlap = max(min(a[3], b[3]) - max(a[2], b[2]), 0)
    union = (a[3] - a[2]) + (b[3] - b[2]) - overlap
    if not union:
        return 0
    return overlap / union if isinstance(union, float) else Fraction(overlap, union)


def hull_tiou(a, b):
    """The same, as the THUMOS14 kit divides."""
    overlap = min(a[3], b[3]) - max(a[2], b[2])
    hull = max(a[3], b[3]) - min(a[2], b[2])
    if overlap <= 0:
        return 0
    return overlap / hull if isinstance(hull, float) else Fraction(overlap, hull)


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


def anet_to_the_last_bit(detections, truth, thresholds):
    """The same in floats, summed as the ActivityNet code sums, at all thresholds: (K,)."""
    labels = list(dict.fromkeys(row[1] for row in truth))  # in the order in which they occur
    values = np.zeros((len(thresholds), len(labels)))
    for c, label in enumerate(labels):
        wanted = defaultdict(list)
        for row in truth:
            if row[1] == label:
                wanted[row[0]].append(row)
        count = sum(map(len, wanted.values()))
        own = [row for row in detections if row[1] == label]
        order = np.argsort([row[4] for row in own], kind="stable")[::-1]
        taken, hits = [set() for _ in thresholds], np.zeros((len(thresholds), len(own)))
        for n, i in enumerate(order):
            video = own[i][0]
            overlaps = np.array([tiou(own[i], segment) for segment in wanted[video]], dtype=float)
            for k, threshold in enumerate(thresholds):
                for j in np.argsort(overlaps, kind="stable")[::-1]:
                    if overlaps[j] < threshold:
                        break
                    if (video, j) not in taken[k]:
                        taken[k].add((video, j))
                        hits[k, n] = 1
                        break
        for k in range(len(thresholds)):
            found = np.cumsum(hits[k])
            precision = [0, *(found / (found + np.cumsum(1 - hits[k]))), 0]
            recall = [0, *(found / float(count)), 1]
            for n in reversed(range(len(precision) - 1)):
                precision[n] = max(precision[n], precision[n + 1])
            rises = [n for n in range(1, len(recall)) if recall[n] != recall[n - 1]]
            values[k, c] = np.sum([(recall[n] - recall[n - 1]) * precision[n] for n in rises])
    return values.mean(axis=1)


def co2net(detections, truth, threshold):
    """On the grid of `wtalc`, without the detections that are ambiguous there, matched as by `anet`."""
    detections, truth = [on_grid(row) for row in detections], [on_grid(row) for row in truth]
    ambiguous = [row for row in truth if row[1] == "Ambiguous"]
    clear = [row for row in detections if not any(row[0] == a[0] and tiou(row, a) > 0 for a in ambiguous)]
    return anet(clear, [row for row in truth if row[1] != "Ambiguous"], threshold)


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
            best = max(free, key=lambda i: hull_tiou(own[i], segment), default=None)
            if best is not None and hull_tiou(own[best], segment) > threshold:
                right.add(best)
        counted = [
            (-row[4], i not in right)
            for i, row in enumerate(own)
            if i in right or not any(row[0] == other[0] and hull_tiou(row, other) > 0 for other in ambiguous)
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
    """Ends in whole snippets; floats stay floats, in which these kits divide as well."""
    ends = [type(end)(round(end * Fraction(25, 16))) for end in row[2:4]]
    return (*row[:2], *ends, *row[4:])


def mean_precision(misses, wanted):
    """The sum over hits of the precision there, divided by the segments there are."""
    ranks = [i for i, miss in enumerate(misses) if not miss]
    return sum((Fraction(n, rank + 1) for n, rank in enumerate(ranks, 1)), Fraction(0)) / wanted
