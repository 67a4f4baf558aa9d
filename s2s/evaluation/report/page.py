"""The report page: one HTML file that explains a set of evaluated systems, readable without a network.

It opens with the answer, the picture of quality by length and a few sentences made from its numbers; then tables with
intervals and significance, learning curves, the translations of single sentences, attention weights, and how all of it
was made. Styles, pictures, script and data are part of the file. Text of the corpus and of systems is data: it is
escaped in the markup, and of scripts a browser runs only the page's own, which its policy names by hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from matplotlib.figure import Figure

from s2s.data.lengths import is_written_without_spaces
from s2s.evaluation.bleu import METRICS
from s2s.evaluation.report import prose
from s2s.evaluation.report.attention import AttentionMap, packed
from s2s.evaluation.report.canvas import svg
from s2s.evaluation.report.files import as_csv, as_json, tables
from s2s.evaluation.report.length import METRIC_WORDS, VIEWS, draw_length
from s2s.evaluation.report.palette import FAMILY_WORDS, Style, styles, swatch
from s2s.evaluation.report.picture import Curve, draw_curves
from s2s.evaluation.report.results import Results
from s2s.evaluation.report.scaling import blocks, draw_scaling, how, sentences
from s2s.evaluation.report.sentences import as_script, by_bins, evenly, for_the_page
from s2s.evaluation.report.table import number
from s2s.evaluation.report.views import system_rows, view_table
from s2s.evaluation.scaling import Scaling
from s2s.files import atomic_write

log = logging.getLogger(__name__)

_LARGE = 5_000_000  # bytes
_SENTENCES = 2_200_000  # of these for sentences …
_ATTENTION = 1_500_000  # … and for attention
RELOAD = 10  # seconds after which a page with missing systems reloads itself
_SCRIPTS = ("page.js", "translations.js", "attention.js")


def write_page(
    path: Path,
    title: str,
    results: Results,
    *,
    attentions: Sequence[AttentionMap] = (),
    command: str = "",
    scaling: Scaling | None = None,
    missing: Sequence[str] = (),
    stopped: bool = False,
) -> None:
    """Writes the page.

    Args:
        results: systems in the order of the tables; colours follow from it.
        attentions: of some sentences, each with all systems that have attention.
        command: what the user typed.
        scaling: cost by length, to show; models of the same name look the same.
        missing: systems that are still to come: the page names them, and reloads itself.
        stopped: they do not come until the command is run again: the page says so, and does not reload itself.

    Raises:
        S2SError: a map does not fit its pieces; the file cannot be written.
    """
    systems, test, first = results.systems, results.test, results.first
    by_name = {one.name: one.family for one in systems}
    by_name |= {name: family for name, family in (scaling.models if scaling else {}).items() if name not in by_name}
    families = list(by_name.values())
    looks = dict(zip(by_name, styles(families), strict=True))
    shown = for_the_page(results, _SENTENCES)
    maps = _maps(attentions, results)
    script = "\n".join(_resource(name) for name in _SCRIPTS)
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        signed=prose.signed,
        duration=prose.duration,
        quantity=prose.quantity,
        millions=prose.millions,
        mebibytes=prose.mebibytes,
        listed=prose.listed,
    )
    html = environment.get_template("page.html.jinja").render(
        title=title,
        css=_resource("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=as_script(_data(results, shown, maps)),
        results=results,
        rows=system_rows(results),
        looks=list(looks.values()),
        swatches={name: swatch(look, number) for number, (name, look) in enumerate(looks.items())},
        family_words=FAMILY_WORDS,
        first=first,
        test=test,
        headline=prose.headline(results.scored, results.comparisons, test.config.confidence, len(results.seeds)),
        between_seeds=prose.between_seeds(results.seeds, _spreads(results)),
        metrics={metric: METRIC_WORDS[metric] for metric in METRICS},
        views=[
            {
                "name": f"{view.metric} {view.side}",
                "metric": view.metric,
                "side": view.side,
                "words": view.words,
                "stem": view.stem,
                "pictures": _both_widths(view.stem, families, partial(draw_length, results.series, view)),
                "limit": first.along(view.side).limit,
                "table": view_table(results, view),
            }
            for view in (VIEWS[:1] if missing else VIEWS)  # a page that is soon written again must not cost much
        ],
        curves=_curves(results),
        of_attention=[
            (one.pair, prose.rows_to_show(one, first))
            for one in results.comparisons
            if one.pair.apart != "architecture"
        ],
        samples=[shown[i] for i in _one_of_each_bin(shown, test.config.bins)],
        shown=len(shown),
        maps=maps,
        decodings=_decodings(results),
        searches=_searches(results),
        configs={one.name: json.dumps(one.config, ensure_ascii=False, indent=2, default=str) for one in systems},
        downloads=_downloads(results),
        command=command,
        missing=missing,
        reload=None if stopped else RELOAD,
        precision=prose.precision({one.name: one.config for one in systems}),
        threads=prose.threads([training.threads for one in systems for training in one.trainings]),
        scaling=None if scaling is None else _scaling(scaling, looks, families),
    )
    content = html.encode("utf-8", "replace")
    if len(content) > _LARGE:
        log.warning("%s is larger than %d MB: compare fewer systems", path, _LARGE // 1_000_000)
    with atomic_write(path, "wb") as file:
        file.write(content)


def _spreads(results: Results) -> dict[str, float]:
    """By system, how far apart the BLEU of its trainings is."""
    found = {}
    for one in results.systems:
        scores = [training.evaluation.bleu for training in one.trainings]
        known = [score for score in scores if score is not None]
        if known:
            found[one.name] = max(known) - min(known)
    return found


def _maps(attentions: Sequence[AttentionMap], results: Results) -> list[dict[str, Any]]:
    """Of as many sentences as there is room for, about as many of each length bin; the shortest first."""
    test, lengths = results.test, results.test.lengths()
    found: dict[int, list[dict[str, Any]]] = {}
    for one in attentions:
        found.setdefault(one.sentence, []).append(packed(one, test.source_language, test.target_language))
    size = {sentence: len(json.dumps(maps)) for sentence, maps in found.items()}
    bins = [[i for i in members if i in found] for members in by_bins(lengths, test.config.bins)]
    count = len(found)
    while sum(size[i] for i in evenly(bins, count)) > _ATTENTION:
        count -= 1
    return [
        one | {"length": lengths[i]}
        for i in sorted(evenly(bins, count), key=lambda i: (lengths[i], i))
        for one in found[i]
    ]


def _one_of_each_bin(shown: Sequence[Sequence[Any]], bins: Sequence[int]) -> list[int]:
    """The sentences that are there without the script, as places in `shown`: the middle of each length bin."""
    members = by_bins([row[1] for row in shown], bins)
    return [one[len(one) // 2] for one in members if one]


def _curves(results: Results) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Learning curves by time and by update: name, words, pictures; none where nothing was validated."""
    curves = [Curve(one.name, training.curve, one.family) for one in results.systems for training in one.trainings]
    if not any(curve.points for curve in curves):
        return []
    families = [one.family for one in results.systems]
    return [
        (by, words, _both_widths(f"curves-{by}", families, partial(draw_curves, curves, by, legend=False)))
        for by, words in (("seconds", "time"), ("updates", "updates"))
    ]


def _scaling(scaling: Scaling, looks: Mapping[str, Style], families: Sequence[str]) -> dict[str, Any]:
    return {
        "sentences": sentences(scaling),
        "pictures": _both_widths("scaling", families, partial(draw_scaling, scaling, looks=looks)),
        "models": scaling.models,
        "lengths": scaling.lengths,
        "blocks": blocks(scaling),
        "how": how(scaling),
    }


def _both_widths(name: str, families: Sequence[str], draw: Callable[..., Figure]) -> list[tuple[str, str]]:
    """One drawing for wide screens and one for phones; CSS shows either."""
    return [
        (width, svg(partial(draw, narrow=width == "narrow"), families, f"{name}-{width}"))
        for width in ("wide", "narrow")
    ]


def _decodings(results: Results) -> dict[str, list[str]]:
    """The systems by their decoding settings."""
    found: dict[str, list[str]] = {}
    for one in results.systems:
        text = ", ".join(f"{key}={value}" for key, value in results.evaluations[one.name].decoding.items())
        found.setdefault(text, []).append(one.name)
    return found


def _searches(results: Results) -> list[str]:
    """How the systems were decoded, in short: `beam 5`, `greedy search`, `sampling`."""
    settings = [results.evaluations[one.name].decoding for one in results.systems]
    words = {"greedy": "greedy search", "sample": "sampling"}
    known = [one for one in settings if "strategy" in one]
    return list(
        dict.fromkeys(words.get(one["strategy"]) or f"{one['strategy']} {one.get('beam', '')}".strip() for one in known)
    )


def _downloads(results: Results) -> dict[str, str]:
    """Files by name, as URIs that hold them: the same bytes as beside the page."""
    files = {f"{name}.csv": ("text/csv", as_csv(rows)) for name, rows in tables(results).items()}
    files["report.json"] = ("application/json", json.dumps(as_json(results), ensure_ascii=False, indent=2) + "\n")
    return {
        name: f"data:{kind};base64,{base64.b64encode(text.encode('utf-8', 'replace')).decode()}"
        for name, (kind, text) in files.items()
    }


def _data(results: Results, shown: list[list[Any]], maps: list[dict[str, Any]]) -> dict[str, Any]:
    """What the page's script reads."""
    test = results.test
    names = [one.name for one in results.systems]
    return {
        "systems": names,
        "sentences": shown,
        "attention": maps,
        "languages": {"source": test.source_language, "target": test.target_language},
        "unit": results.first.length_unit,
        "space": "" if is_written_without_spaces(test.source_language) else " ",  # between words of the source
        "pair": [results.comparisons[0].pair.a, results.comparisons[0].pair.b] if results.comparisons else names * 2,
    }


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
