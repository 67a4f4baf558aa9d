"""Translations of single sentences for the page: selection, sentence scores and differences to the reference.

Each translation has its sentence-level chrF++. The differences come from an alignment of the words of translation and
reference (characters in languages written without spaces); unaligned text of the translation is marked.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from s2s.data.languages import is_written_without_spaces
from s2s.data.lengths import length_in_words
from s2s.evaluation.by_length import assign_bins
from s2s.evaluation.report.results import Results

_WORDS = re.compile(r"\s*\S+|\s+$")
_CHARACTERS = re.compile(r"\s*(?:[A-Za-z0-9]+|\S)|\s+$")


def evenly(bins: Sequence[Sequence[int]], count: int) -> list[int]:
    """Returns at most `count` members, about as many from each bin, evenly spaced within the bin.

    Args:
        bins: members in an order, such as that of their lengths.
    """
    selection: list[int] = []
    for number, members in enumerate(sorted(bins, key=len)):  # larger bins get the unused share of smaller ones
        share = min(len(members), (count - len(selection)) // (len(bins) - number))
        selection += [members[(2 * place + 1) * len(members) // (2 * share)] for place in range(share)]
    return selection


def by_bins(lengths: Sequence[int], bins: Sequence[int], longest: int | None = None) -> list[list[int]]:
    """Returns the sentences of each length bin, the shortest first, without those longer than `longest`."""
    return [
        sorted((int(i) for i in members if longest is None or lengths[i] <= longest), key=lambda i: (lengths[i], i))
        for members in assign_bins(lengths, bins)
    ]


def differences(output: str, reference: str, language: str) -> list[str]:
    """Returns the output in pieces that alternately match the reference and differ from it.

    The first piece matches and may be empty. An empty differing piece marks missing words of the reference. The
    concatenation of all pieces is the output.
    """
    pattern = _CHARACTERS if is_written_without_spaces(language) else _WORDS
    words = pattern.findall(output)
    a, b = ([word.strip() for word in side] for side in (words, pattern.findall(reference)))
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    pieces = [""]
    for tag, start, end, _, _ in matcher.get_opcodes():
        text = "".join(words[start:end])
        if tag != "equal":  # leading white space is not marked
            marked = text.lstrip()
            pieces[-1] += text[: len(text) - len(marked)]
            pieces += [marked] if marked or not text else []
        elif len(pieces) % 2:
            pieces[-1] += text
        else:
            pieces.append(text)
    return pieces


def sentence_scores(results: Results) -> dict[str, list[float]]:
    """Returns by system the chrF++ of each sentence of its first training."""
    chrf = {system.name: results.statistics[system.name][0].chrf for system in results.systems}
    return {name: [round(float(score), 2) for score in one.scores_of_sums(one.counts)] for name, one in chrf.items()}


def page_sentences(results: Results, budget: int) -> list[list[Any]]:
    """Returns sentences, the shortest first; beyond the budget, about as many of each length bin.

    Args:
        budget: bytes of JSON.

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
        return 1 + len(script_json(row(i)).encode("utf-8", "replace"))

    low, high = 0, len(lengths)
    while low < high:  # the largest number within the budget
        middle = (low + high + 1) // 2
        fits = sum(size(i) for i in evenly(bins, middle)) <= budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return [row(i) for i in sorted(evenly(bins, low), key=lambda i: (lengths[i], i))]


def script_json(data: Any) -> str:
    """Returns JSON for a `<script>` element, without any `<` that could end it or begin another."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
