"""The report page: one HTML file that explains a set of evaluated systems, readable without a network.

It opens with the answer, the picture of BLEU by source length and a few sentences made from its numbers; then tables
with intervals, learning curves, translations from short to long, attention weights, and how all of it was made. Text
of the corpus and of systems is always escaped; styles and pictures are part of the file.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from s2s.config import EvaluationConfig
from s2s.data.lengths import length_in_words, unit
from s2s.errors import S2SError
from s2s.evaluation.by_length import Evaluation, assign, hash_of_test_set, paired
from s2s.evaluation.report import prose
from s2s.evaluation.report.canvas import svg
from s2s.evaluation.report.palette import FAMILY_WORDS, styles, swatch
from s2s.evaluation.report.picture import Curve, Series, check_weights, draw_curves, draw_length
from s2s.evaluation.report.scaling import blocks, draw_scaling, how, sentences
from s2s.evaluation.report.table import interval, number
from s2s.evaluation.scaling import Scaling
from s2s.files import atomic_write

log = logging.getLogger(__name__)

_LARGE = 5_000_000  # bytes


@dataclass(frozen=True)
class System:
    """One trained and evaluated system; what was not measured is None."""

    name: str
    family: str  # "fixed", "attention" or "self-attention"
    evaluation: Evaluation
    hypotheses: Sequence[str]
    parameters: int
    non_embedding_parameters: int
    train_seconds: float | None
    tokens_per_s: float | None  # target tokens
    tokens_seen: int | None  # target tokens
    curve: Sequence[tuple[int, float, float]]  # update, seconds since the start, validation BLEU
    config: Mapping[str, Any]
    decode_seconds: float | None = None


@dataclass(frozen=True)
class TestSet:
    """What all systems of a page translated, and how they were scored."""

    __test__ = False  # not a test of pytest's

    sources: Sequence[str]
    references: Sequence[str]
    source_language: str
    target_language: str
    config: EvaluationConfig


@dataclass(frozen=True)
class AttentionMap:
    """Weights (target pieces, source pieces) of one translation; `label` says which, such as "mean of 4 heads"."""

    system: str
    label: str
    source_pieces: Sequence[str]
    target_pieces: Sequence[str]
    weights: ArrayLike


def write_page(
    path: Path,
    title: str,
    systems: Sequence[System],
    test: TestSet,
    *,
    samples: Sequence[int] | None = None,
    attentions: Sequence[AttentionMap] = (),
    command: str = "",
    timing: str = "",
    scaling: Scaling | None = None,
) -> None:
    """Writes the page.

    Args:
        systems: in the order of the tables; colours follow from it.
        samples: indices of test sentences to show; by default the first of each length bin.
        attentions: heat maps to show.
        command: what the user typed.
        timing: how times and speeds were measured, a sentence.
        scaling: cost by length, to show; of other models than `systems`, so they have colours of their own.

    Raises:
        S2SError: systems were evaluated on another test set than `test`, or on different bins; a map does not fit its
            pieces; the file cannot be written.
    """
    _check(systems, test)
    scored = [prose.Scored(one.name, one.family, one.evaluation) for one in systems]
    by_name = {one.name: one for one in systems}
    comparisons = [prose.Comparison(a, b, _paired(by_name[a], by_name[b], test)) for a, b in prose.family_pairs(scored)]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        number=number,
        interval=interval,
        signed=prose.signed,
        duration=prose.duration,
        quantity=prose.quantity,
        millions=prose.millions,
    )
    families = [one.family for one in systems]
    html = environment.from_string(_resource("page.html.jinja")).render(
        title=title,
        css=_resource("page.css"),
        systems=systems,
        looks=styles(families),
        swatches=[swatch(look, number) for number, look in enumerate(styles(families))],
        numbers={one.name: position for position, one in enumerate(systems)},
        family_words=FAMILY_WORDS,
        first=systems[0].evaluation,
        test=test,
        headline=prose.headline(scored, comparisons, test.config.confidence),
        length_pictures=_length_pictures(systems),
        curve_pictures=_curve_pictures(systems),
        comparisons=[(one, _rows(one, systems[0].evaluation)) for one in comparisons],
        samples=_samples(systems, test, samples),
        first_of_bins=samples is None,
        attentions=[(one, _cells(one)) for one in attentions],
        decodings=_decodings(systems),
        configs={one.name: json.dumps(one.config, ensure_ascii=False, indent=2, default=str) for one in systems},
        command=command,
        timing=timing,
        scaling=None if scaling is None else _scaling(scaling),
    )
    if len(html.encode("utf-8", "replace")) > _LARGE:
        log.warning("%s is larger than %d MB: show fewer samples or attention maps", path, _LARGE // 1_000_000)
    with atomic_write(path) as file:
        file.write(html.encode("utf-8", "replace").decode("utf-8"))


def _check(systems: Sequence[System], test: TestSet) -> None:
    if not systems:
        raise S2SError("a report page needs at least one evaluated system")
    repeated = [name for name, count in Counter(one.name for one in systems).items() if count > 1]
    if repeated:
        raise S2SError(f"systems of a report page must differ in name: {', '.join(repeated)} repeated")
    digest = hash_of_test_set(test.sources, test.references)
    for one in systems:
        if one.evaluation.test_set["sha256"] != digest:
            raise S2SError(f"{one.name} was evaluated on another test set than the page's: evaluate it again")
        if len(one.hypotheses) != len(test.sources):
            raise S2SError(f"{one.name} has {len(one.hypotheses)} hypotheses for {len(test.sources)} test sentences")


def _paired(a: System, b: System, test: TestSet) -> Any:
    return paired(
        test.sources,
        a.hypotheses,
        b.hypotheses,
        test.references,
        source_language=test.source_language,
        target_language=test.target_language,
        config=test.config,
    )


def _length_pictures(systems: Sequence[System]) -> list[tuple[str, str]]:
    series = [Series(one.name, one.evaluation, one.family) for one in systems]
    families = [one.family for one in systems]
    return _both_widths("length", families, lambda narrow: draw_length(series, narrow=narrow))


def _curve_pictures(systems: Sequence[System]) -> list[tuple[str, str]]:
    curves = [Curve(one.name, one.curve, one.family) for one in systems]
    if not any(curve.points for curve in curves):
        return []
    families = [one.family for one in systems]
    return _both_widths("curves", families, lambda narrow: draw_curves(curves, "seconds", narrow=narrow, legend=False))


def _scaling(scaling: Scaling) -> dict[str, Any]:
    families = list(scaling.models.values())
    looks = styles(families)
    return {
        "sentences": sentences(scaling),
        "pictures": _both_widths("scaling", families, lambda narrow: draw_scaling(scaling, narrow=narrow), "model"),
        "looks": looks,
        "models": {
            name: (swatch(look, number, "model"), family)
            for number, (look, (name, family)) in enumerate(zip(looks, scaling.models.items(), strict=True))
        },
        "lengths": scaling.lengths,
        "blocks": blocks(scaling),
        "how": how(scaling),
    }


def _both_widths(
    name: str, families: Sequence[str], draw: Callable[[bool], Figure], of: str = "system"
) -> list[tuple[str, str]]:
    """One drawing for wide screens and one for phones; CSS shows either."""
    return [
        (width, svg(lambda narrow=width == "narrow": draw(narrow), families, f"{name}-{width}", of))  # type: ignore[misc]
        for width in ("wide", "narrow")
    ]


def _rows(comparison: prose.Comparison, evaluation: Evaluation) -> list[tuple[str, Any]]:
    """The shortest bin, the longest within the training limit, the longest of all, and the whole set."""
    found: list[tuple[str, Any]] = []
    span = prose.ends(evaluation)
    if span is not None:
        last = [row for row in evaluation.by_length if row.low is not None][-1]
        for row in dict.fromkeys([*span, last]):
            found.append((prose.span_words(row, evaluation.length_unit), prose.difference_in(comparison.paired, row)))
    return [*found, ("whole test set", comparison.paired.corpus)]


def _samples(systems: Sequence[System], test: TestSet, chosen: Sequence[int] | None) -> list[dict[str, Any]]:
    lengths = [length_in_words(text, test.source_language) for text in test.sources]
    if chosen is None:
        chosen = [int(members[0]) for members in assign(lengths, test.config.bins) if len(members)]
    spaced = unit(test.target_language) == "words"
    return [
        {
            "number": index + 1,
            "length": lengths[index],
            "source": test.sources[index],
            "reference": test.references[index],
            "outputs": [(one.name, _marked(one.hypotheses[index], test.references[index], spaced)) for one in systems],
        }
        for index in sorted(chosen, key=lambda index: lengths[index])
    ]


def _decodings(systems: Sequence[System]) -> dict[str, list[str]]:
    """The systems by their decoding settings."""
    found: dict[str, list[str]] = {}
    for one in systems:
        text = ", ".join(f"{key}={value}" for key, value in one.evaluation.decoding.items())
        found.setdefault(text, []).append(one.name)
    return found


def _marked(output: str, reference: str, spaced: bool) -> list[tuple[str, bool]]:
    """Words of an output, True where the reference does not have the word (as often)."""
    if not spaced:
        return [(output, False)]
    left = Counter(reference.split())
    words = []
    for word in output.split():
        words.append((word, left[word] <= 0))
        left[word] -= 1
    return words


def _cells(one: AttentionMap) -> list[list[str]]:
    """Weights as CSS numbers of two digits, "" for almost nothing."""
    matrix = check_weights(one.weights, one.source_pieces, one.target_pieces)
    return [[f"{min(w, 1.0):.2f}".lstrip("0") if w >= 0.005 else "" for w in row] for row in matrix.tolist()]


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
