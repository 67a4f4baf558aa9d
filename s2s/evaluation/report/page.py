"""Report page: one self-contained HTML file about a set of evaluated systems, readable without a network.

It starts with a few sentences made from the numbers and the picture of quality by length. Tables with intervals and
significance, learning curves, translations of single sentences, attention weights and the settings follow. Styles,
pictures, script and data are part of the file. Text of the corpus and of systems is escaped in the markup, and the
content security policy names the page's own script by hash, so a browser runs no other.
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

from s2s.data.languages import is_written_without_spaces
from s2s.durations import duration
from s2s.evaluation.bleu import METRICS
from s2s.evaluation.report import prose
from s2s.evaluation.report.attention import AttentionMap, encode_map
from s2s.evaluation.report.canvas import svg
from s2s.evaluation.report.files import as_csv, as_json, tables
from s2s.evaluation.report.length import METRIC_NAMES, VIEWS, draw_length
from s2s.evaluation.report.palette import FAMILY_NAMES, Style, styles, swatch
from s2s.evaluation.report.picture import Curve, draw_curves
from s2s.evaluation.report.results import Results
from s2s.evaluation.report.scaling import blocks, conditions, draw_scaling, growth_sentences
from s2s.evaluation.report.sentences import by_bins, evenly, page_sentences, script_json
from s2s.evaluation.report.table import number
from s2s.evaluation.report.views import score_cell, view_table
from s2s.evaluation.scaling import Scaling
from s2s.files import atomic_write

log = logging.getLogger(__name__)

_LARGE = 5_000_000  # bytes of the page
_SENTENCES = 2_200_000  # bytes of sentences
_ATTENTION = 1_500_000  # bytes of attention maps
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
        results: systems in the order of the tables, which decides their colours.
        attentions: maps of some sentences, each for all systems with attention.
        command: the command line.
        scaling: cost by length; its models share the style of the systems with their name.
        missing: systems without results so far; the page names them and reloads itself.
        stopped: the missing systems need another run of the command; the page says so and does not reload itself.

    Raises:
        S2SError: the shape of a map does not match its pieces; the file cannot be written.
    """
    systems, test, first = results.systems, results.test, results.first
    by_name = {one.name: one.family for one in systems}
    by_name |= {name: family for name, family in (scaling.models if scaling else {}).items() if name not in by_name}
    families = list(by_name.values())
    looks = dict(zip(by_name, styles(families), strict=True))
    samples = page_sentences(results, _SENTENCES)
    maps = _maps(attentions, results)
    script = "\n".join(_resource(name) for name in _SCRIPTS)
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (number, duration, prose.signed, prose.quantity, prose.millions, prose.mebibytes, prose.join_list)
    environment.filters.update({function.__name__: function for function in filters})
    html = environment.get_template("page.html.jinja").render(
        title=title,
        css=_resource("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=script_json(_data(results, samples, maps)),
        results=results,
        score_cell=partial(score_cell, results),
        looks=list(looks.values()),
        swatches={name: swatch(look, number) for number, (name, look) in enumerate(looks.items())},
        family_words=FAMILY_NAMES,
        first=first,
        test=test,
        headline=prose.headline(results.scores, results.comparisons, test.config.confidence, len(results.seeds)),
        seed_variation=prose.seed_variation(
            results.seeds, {one.name: [each.evaluation.bleu for each in one.trainings] for one in systems}
        ),
        metrics={metric: METRIC_NAMES[metric] for metric in METRICS},
        views=[
            (
                view,
                _both_widths(view.stem, families, partial(draw_length, results.scores, view)),
                view_table(results, view),
            )
            for view in (VIEWS[:1] if missing else VIEWS)  # an incomplete page is soon rewritten
        ],
        curves=_curves(results),
        of_attention=[
            (one.pair, prose.pair_table_rows(one, first))
            for one in results.comparisons
            if one.pair.contrast != "architecture"
        ],
        # without the script the page shows the middle sentence of each length bin
        samples=[samples[i[len(i) // 2]] for i in by_bins([row[1] for row in samples], test.config.bins) if i],
        number_of_samples=len(samples),
        maps=maps,
        decodings=_decodings(results),
        searches=_searches(results),
        configs={one.name: json.dumps(one.config, ensure_ascii=False, indent=2, default=str) for one in systems},
        downloads=_downloads(results),
        command=command,
        missing=missing,
        reload=None if stopped else RELOAD,
        precision=prose.precision_note({one.name: one.config for one in systems}),
        code=prose.code_note([one.name for one in systems if any(t.other_code for t in one.trainings)]),
        threads=prose.threads_note([training.threads for one in systems for training in one.trainings]),
        scaling=None if scaling is None else _scaling(scaling, looks, families),
    )
    content = html.encode("utf-8", "replace")
    if len(content) > _LARGE:
        log.warning("%s is larger than %d MB: compare fewer systems", path, _LARGE // 1_000_000)
    with atomic_write(path, "wb") as file:
        file.write(content)


def _maps(attentions: Sequence[AttentionMap], results: Results) -> list[dict[str, Any]]:
    """Encoded maps within the size limit, about as many of each length bin; the shortest first."""
    test, lengths = results.test, results.test.lengths()
    maps: dict[int, list[dict[str, Any]]] = {}
    for one in attentions:
        maps.setdefault(one.sentence, []).append(encode_map(one, test.source_language, test.target_language))
    size = {sentence: len(json.dumps(encoded)) for sentence, encoded in maps.items()}
    bins = [[i for i in members if i in maps] for members in by_bins(lengths, test.config.bins)]
    count = len(maps)
    while sum(size[i] for i in evenly(bins, count)) > _ATTENTION:
        count -= 1
    sentences = sorted(evenly(bins, count), key=lambda i: (lengths[i], i))
    return [one | {"length": lengths[i]} for i in sentences for one in maps[i]]


def _curves(results: Results) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Learning curves by time and by update (name, words, pictures); empty without validation."""
    curves = [Curve(one.name, training.curve, one.family) for one in results.systems for training in one.trainings]
    if not any(curve.points for curve in curves):
        return []
    families = [one.family for one in results.systems]
    return [
        (by, words, _both_widths(f"curves-{by}", families, partial(draw_curves, curves, by)))
        for by, words in (("seconds", "time"), ("updates", "updates"))
    ]


def _scaling(scaling: Scaling, looks: Mapping[str, Style], families: Sequence[str]) -> dict[str, Any]:
    return {
        "sentences": growth_sentences(scaling),
        "pictures": _both_widths("scaling", families, partial(draw_scaling, scaling, looks=looks)),
        "models": scaling.models,
        "lengths": scaling.lengths,
        "blocks": blocks(scaling),
        "conditions": conditions(scaling),
    }


def _both_widths(name: str, families: Sequence[str], draw: Callable[..., Figure]) -> list[tuple[str, str]]:
    """A drawing for wide screens and one for phones; CSS shows one of them."""
    return [
        (width, svg(partial(draw, narrow=width == "narrow"), families, f"{name}-{width}"))
        for width in ("wide", "narrow")
    ]


def _decodings(results: Results) -> dict[str, list[str]]:
    """The names of the systems by their decoding settings."""
    decodings: dict[str, list[str]] = {}
    for name, evaluation in results.evaluations.items():
        settings = ", ".join(f"{key}={value}" for key, value in evaluation.decoding.items())
        decodings.setdefault(settings, []).append(name)
    return decodings


def _searches(results: Results) -> list[str]:
    """The decoding strategies in short: `beam 5`, `greedy search`, `sampling`."""
    names = {"greedy": "greedy search", "sample": "sampling"}
    settings = [one.decoding for one in results.evaluations.values() if "strategy" in one.decoding]
    searches = [names.get(one["strategy"], f"{one['strategy']} {one.get('beam', '')}".strip()) for one in settings]
    return list(dict.fromkeys(searches))


def _downloads(results: Results) -> dict[str, str]:
    """Data URIs of the files beside the page, by name."""
    files = {f"{name}.csv": ("text/csv", as_csv(rows)) for name, rows in tables(results).items()}
    files["report.json"] = ("application/json", json.dumps(as_json(results), ensure_ascii=False, indent=2) + "\n")
    return {
        name: f"data:{kind};base64,{base64.b64encode(text.encode('utf-8', 'replace')).decode()}"
        for name, (kind, text) in files.items()
    }


def _data(results: Results, samples: list[list[Any]], maps: list[dict[str, Any]]) -> dict[str, Any]:
    """The data of the page's script."""
    test = results.test
    names = [one.name for one in results.systems]
    return {
        "systems": names,
        "sentences": samples,
        "attention": maps,
        "languages": {"source": test.source_language, "target": test.target_language},
        "unit": results.first.length_unit,
        "space": "" if is_written_without_spaces(test.source_language) else " ",  # between words of the source
        "pair": [results.comparisons[0].pair.a, results.comparisons[0].pair.b] if results.comparisons else names * 2,
    }


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
