"""Single sentences for the page: which of them it has room for, how well each was translated, and what is different.

Each translation has the chrF++ of its sentence alone. Differences to the reference are found by aligning the words of
both (characters in languages without spaces between words): what is left over on the side of the translation is marked.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from s2s.data.lengths import is_written_without_spaces, length_in_words
from s2s.evaluation.by_length import assign
from s2s.evaluation.report.results import Results

_WORDS = re.compile(r"\s*\S+|\s+$")
_CHARACTERS = re.compile(r"\s*(?:[A-Za-z0-9]+|\S)|\s+$")


def evenly(bins: Sequence[Sequence[int]], count: int) -> list[int]:
    """At most `count` members, about as many from each bin, spread over each bin from its first to its last.

    Args:
        bins: members in an order, such as that of their lengths.
    """
    chosen: list[int] = []
    for number, members in enumerate(sorted(bins, key=len)):  # what a small bin has no use for goes to the larger ones
        share = min(len(members), (count - len(chosen)) // (len(bins) - number))
        chosen += [members[(2 * place + 1) * len(members) // (2 * share)] for place in range(share)]
    return chosen


def by_bins(lengths: Sequence[int], bins: Sequence[int], longest: int | None = None) -> list[list[int]]:
    """The sentences of each length bin, the shortest first; none longer than `longest`."""
    return [
        sorted((int(i) for i in members if longest is None or lengths[i] <= longest), key=lambda i: (lengths[i], i))
        for members in assign(lengths, bins)
    ]


def differences(output: str, reference: str, language: str) -> list[str]:
    """The output in pieces, in turn as the reference has it and not; joined, they are the output.

    The first piece is as in the reference and may be empty. An empty piece of the other kind stands where the output
    lacks words of the reference.
    """
    pattern = _CHARACTERS if is_written_without_spaces(language) else _WORDS
    ours, theirs = pattern.findall(output), pattern.findall(reference)
    matcher = difflib.SequenceMatcher(
        None, [word.strip() for word in ours], [word.strip() for word in theirs], autojunk=False
    )
    pieces = [""]
    for tag, start, end, _, _ in matcher.get_opcodes():
        text = "".join(ours[start:end])
        if tag != "equal":  # white space before what is marked is not marked
            marked = text.lstrip()
            pieces[-1] += text[: len(text) - len(marked)]
            pieces += [marked] if marked or not text else []
        elif len(pieces) % 2:
            pieces[-1] += text
        else:
            pieces.append(text)
    return pieces


def sentence_scores(results: Results) -> dict[str, list[float]]:
    """By system, the chrF++ of each sentence of its first training."""
    found = {}
    for system in results.systems:
        counts = results.counts[system.name][0].chrf
        found[system.name] = [round(float(score), 2) for score in counts.scores_of_sums(counts.counts)]
    return found


def for_the_page(results: Results, budget: int) -> list[list[Any]]:
    """Sentences, the shortest first; where there is no room for all, about as many are left out in each length bin.

    Args:
        budget: bytes of JSON that the page has room for.

    Returns:
        rows of number, source length, reference length, source, reference, scores by system, outputs by system.
    """
    test, lengths = results.test, results.test.lengths()
    outputs = [one.trainings[0].hypotheses for one in results.systems]
    bins, scores = by_bins(lengths, test.config.bins), sentence_scores(results)

    @cache
    def row(i: int) -> list[Any]:
        return [
            i + 1,
            lengths[i],
            length_in_words(test.references[i], test.target_language),
            test.sources[i],
            test.references[i],
            [scores[one.name][i] for one in results.systems],
            [differences(texts[i], test.references[i], test.target_language) for texts in outputs],
        ]

    @cache
    def size(i: int) -> int:
        return 1 + len(as_script(row(i)).encode("utf-8", "replace"))

    low, high = 0, len(lengths)
    while low < high:  # the largest number that there is room for
        middle = (low + high + 1) // 2
        fits = sum(size(i) for i in evenly(bins, middle)) <= budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return [row(i) for i in sorted(evenly(bins, low), key=lambda i: (lengths[i], i))]


def as_script(data: Any) -> str:
    """JSON that stands in a `<script>`: nothing in it can end the element or begin another."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
