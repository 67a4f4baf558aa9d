"""The built-in corpus: splits, lengths, reproducibility, and phenomena of translation; see `test_german`."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import islice

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s.data.grammar import TRAIN_SHARES, Grammar, generate, length_bins
from s2s.data.grammar.conjugation import MODALS
from s2s.data.grammar.declension import ACC, NOM, SG
from s2s.data.grammar.nouns import NOUNS
from s2s.data.grammar.verbs import VERBS
from s2s.errors import S2SError
from tests.data.test_german import GENDERS, noun

GENDER = {name: article for article, names in GENDERS.items() for name in names.split()}  # English noun to article


def length(text: str) -> int:
    return len(text.split())


def bin_of(text: str) -> int:
    return next(i for i, edge in enumerate(length_bins()) if length(text) <= edge)


@pytest.fixture(scope="module")
def train() -> list[tuple[str, str]]:
    return list(generate("train", pairs=4000, seed=1))


@pytest.fixture(scope="module")
def raw() -> list[tuple[str, str]]:
    """Sentences before duplicates are removed."""
    grammar = Grammar(5)
    return [grammar.sentence(3 + int(grammar.random() ** 1.5 * 58)) for _ in range(30_000)]


# ------------------------------------------------------------------------------- the corpus as a whole


def test_same_arguments_same_corpus_also_with_other_hash_seeds() -> None:
    code = (
        "import hashlib; from s2s.data.grammar import generate;"
        "print(hashlib.sha256(repr([list(generate(s, pairs=60, seed=3)) for s in ('train', 'validation', 'test')])"
        ".encode()).hexdigest())"
    )
    splits = [list(generate(split, pairs=60, seed=3)) for split in ("train", "validation", "test")]
    expected = hashlib.sha256(repr(splits).encode()).hexdigest()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"}
        output = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True
        )
        assert output.stdout.strip() == expected


def test_another_seed_is_another_corpus() -> None:
    one, two = (set(generate("train", pairs=300, seed=seed)) for seed in (1, 2))
    assert len(one & two) < 30


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_small_corpus_is_a_prefix_of_a_large_one(split: str) -> None:
    assert list(generate(split, pairs=60, seed=1)) == list(islice(generate(split, pairs=600, seed=1), 60))


def test_splits_share_no_sentence_whatever_sizes_and_seeds(train: list[tuple[str, str]]) -> None:
    splits = {
        "train": [*train, *generate("train", pairs=500, seed=2)],
        "validation": [*generate("validation", pairs=200, seed=1), *generate("validation", pairs=50, seed=2)],
        "test": [*generate("test", pairs=180, seed=1), *generate("test", pairs=60, seed=2)],
    }
    for side in (0, 1):
        sets = [{pair[side] for pair in pairs} for pairs in splits.values()]
        assert not sets[0] & sets[1]
        assert not sets[0] & sets[2]
        assert not sets[1] & sets[2]


def test_no_duplicates_within_a_split(train: list[tuple[str, str]]) -> None:
    assert len({source for source, _ in train}) == len({target for _, target in train}) == len(train)


def test_tens_of_thousands_of_short_sentences() -> None:
    grammar = Grammar(1)
    short = {pair for _ in range(10_000) if length((pair := grammar.sentence(3 + int(grammar.random() * 8)))[0]) <= 10}
    assert len(short) > 7_500  # hardly a duplicate among so many: there are far more


def test_train_lengths_are_as_documented(train: list[tuple[str, str]]) -> None:
    counts = Counter(bin_of(source) for source, _ in train)
    for i, share in enumerate(TRAIN_SHARES):
        assert counts[i] / len(train) == pytest.approx(share, abs=0.025)
        assert counts[i] / len(train) >= 0.055
    assert 18 < sum(length(source) for source, _ in train) / len(train) < 24
    assert {length(source) for source, _ in train} == set(range(3, 61))


def test_test_lengths_are_equally_many_in_each_bin() -> None:
    counts = Counter(bin_of(source) for source, _ in generate("test", pairs=120, seed=9))
    assert counts == dict.fromkeys(range(6), 20)


@pytest.mark.parametrize("pairs", [12, 240])
def test_a_shorter_corpus_has_the_same_test_sentences_in_each_of_its_bins(pairs: int) -> None:
    counts = Counter(-(-length(source) // 5) for source, _ in generate("test", pairs=pairs, seed=1, longest=30))
    assert counts == dict.fromkeys(range(1, 7), pairs // 6)


def test_training_sentences_of_a_shorter_corpus_are_as_short() -> None:
    lengths = [length(source) for source, _ in generate("train", pairs=1500, seed=1, longest=30)]
    assert (min(lengths), max(lengths)) == (3, 30)
    assert length_bins(30) == (5, 10, 15, 20, 25, 30)
    for share, low, high in zip(TRAIN_SHARES, (0, *length_bins(30)), length_bins(30), strict=False):
        assert sum(low < n <= high for n in lengths) / 1500 == pytest.approx(share, abs=0.04)


def words_of(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def test_the_basic_lexicon_is_a_part_of_the_full_one(train: list[tuple[str, str]]) -> None:
    basic = list(generate("train", pairs=2000, seed=1, lexicon="basic"))
    for side, unseen in ((0, 0), (1, 10)):  # of the many forms of a German word some are rare
        many, few = (set().union(*(words_of(pair[side]) for pair in pairs)) for pairs in (train, basic))
        assert len(few) < len(many) / 2
        assert len(few - many) <= unseen
    translations = defaultdict(set)
    for source, target in basic:
        translations[source].add(target)
    assert all(len(targets) == 1 for targets in translations.values())


def test_a_sentence_has_one_translation(raw: list[tuple[str, str]]) -> None:
    translations = defaultdict(set)
    for source, target in raw:
        translations[source].add(target)
    assert [item for item in translations.items() if len(item[1]) > 1] == []


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**40), split=st.sampled_from(["train", "validation", "test"]))
def test_sentences_look_like_text(seed: int, split: str) -> None:
    for source, target in generate(split, pairs=24, seed=seed):
        assert 3 <= length(source) <= 60
        for text in (source, target):
            assert re.fullmatch(r"[A-ZÄÖÜ][A-Za-zÄÖÜäöüß']*(,? [A-Za-zÄÖÜäöüß']+)*[.?]", text), text
        doubled = set(re.findall(r"\b(\w+) \1\b", target))
        assert doubled <= {"der", "die", "das", "den", "sie", "ihr"}, target  # "die Frau, die die Schule baut"


@pytest.mark.parametrize(
    ("split", "pairs", "message"),
    [("dev", 6, "unknown split 'dev'"), ("test", 100, "no multiple"), ("train", -1, "pairs >= 0")],
)
def test_bad_arguments_fail_at_once_with_one_line(split: str, pairs: int, message: str) -> None:
    with pytest.raises(S2SError, match=message) as error:
        generate(split, pairs=pairs, seed=1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("longest", [32, 12, 0])
def test_the_longest_sentences_end_a_bin_of_at_least_three_words(longest: int) -> None:
    with pytest.raises(S2SError, match=f"longest={longest} is no multiple of 6 of at least 18") as error:
        generate("train", pairs=10, seed=1, longest=longest)
    assert "\n" not in str(error.value)


# ------------------------------------------------------------- translations that depend on other words


def test_it_has_the_gender_of_its_noun(raw: list[tuple[str, str]]) -> None:
    counts: Counter[str] = Counter()
    for source, target in raw:
        match = re.search(r"\b(?:a|an|the|this|his|her|my|our) (\w+) and \w+ it\b", source)
        pronouns = re.findall(r" und (?:\w+ )?(ihn|sie|es)\b", target)
        if (
            match
            and match[1] in GENDER
            and not noun(match[1]).is_person
            and source.count(" and ") == len(pronouns) == 1
        ):
            assert pronouns == [{"der": "ihn", "die": "sie", "das": "es"}[GENDER[match[1]]]], (source, target)
            counts[GENDER[match[1]]] += 1
    assert min(counts[article] for article in ("der", "die", "das")) >= 3, counts


def test_it_as_a_subject_has_the_gender_of_the_previous_subject(raw: list[tuple[str, str]]) -> None:
    counts: Counter[str] = Counter()
    for source, target in raw:
        match = re.match(r"The (\w+) [^,]*, (?:and|but|for) it ", source)
        if match and match[1] in GENDER:
            german = re.search(r", (?:und|aber|denn) (er|sie|es) ", target)
            assert german is not None, (source, target)
            assert german[1] == {"der": "er", "die": "sie", "das": "es"}[GENDER[match[1]]], (source, target)
            counts[GENDER[match[1]]] += 1
    assert min(counts[article] for article in ("der", "die", "das")) >= 3, counts


def test_subjects_have_the_article_of_their_gender(raw: list[tuple[str, str]]) -> None:
    checked = 0
    for source, target in raw:
        match = re.match(r"The (\w+) ", source)
        if match and match[1] in GENDER and source.endswith(".") and " and " not in source:
            assert target.split()[0].lower() == GENDER[match[1]], (source, target)
            checked += 1
    assert checked > 300


def test_translations_that_depend_on_other_words(raw: list[tuple[str, str]]) -> None:
    rules = [
        (r"^The (\w+ )?(boy|man|woman|girl|guest|farmer|doctor) (eats|ate) ", r" (isst|aß) ", r" (frisst|fraß) "),
        (r"^The (\w+ )?(dog|cat|horse|pig|cow|bird|bear) (eats|ate) ", r" (frisst|fraß) ", r" (isst|aß) "),
        (r"^\w+ (sees|knows|thinks) that", r", dass ", r"kennt"),
        (r"^If ", r"^Wenn ", r"^Als "),
        (r"^When (Anna|Maria|Julia|Peter|Paul|Martin|I|we) \w+[^e]ed ", r"^Als ", r"^Wenn "),
        (r" must not ", r"\b(darf|dürfen)\b", r"\bnever\b"),
    ]
    for pattern, present, absent in rules:
        hits = [target for source, target in raw if re.search(pattern, source)]
        assert hits, pattern
        for target in hits:
            assert re.search(present, target), (pattern, target)
            if pattern.startswith("^") and length(target) < 9:
                assert not re.search(absent, target), (pattern, target)


# ----------------------------------------------------------------------------- the phenomena are there


PHENOMENA = {
    "verb-final clause": r", (dass|weil|obwohl) [^,]+ (hat|haben|ist|sind|muss|will)[,.]",
    "separated verb": r"\b(ruft|rufen|rief|riefen)\b[^,]* an[,.]",
    "joined verb": r"\b(anruft|anrufen|anrief|anriefen)\b[,.]",
    "infinitive of a separable verb": r"\b(an|auf|aus|ein|mit|zurück|zu|ab)zu[a-zäöü]+n\b",
    "um … zu": r", um [^,]+ zu \w+en",
    "dative plural": r"\b(Kindern|Hunden|Männern|Brüdern|Lehrern|Freunden)\b",
    "weak noun": r"\b(den|dem|einen|einem) (\w+en )?(Jungen|Studenten|Nachbarn|Bauern|Bären)\b",
    "nested relative clauses": r"(, (der|die|das|den|dem|denen) [^,]+){3}[,.]",
    "genitive relative pronoun": r", (dessen|deren) ",
    "dative relative pronoun": r", denen ",
    "relative pronoun after a preposition": r", (auf|von|mit|an|über) (die|den|das|dem|der|denen) ",
    "inversion": r"^(Heute|Gestern|Jetzt|Am \w+|Jeden Tag) (\w+) (der|die|das|ein|eine|er|sie|ich|wir) ",
    "negated article": r"\bkein(e|en|em|er)?\b",
    "passive": r"\b(wird|wurde|werden|wurden) (\w+ )*von ",
    "passive at the end": r"\bge\w+(t|en) (wird|wurde|werden|wurden)[,.]",
    "gern": r"\bgern\b",
    "profession without article": r"\b(ist|war) (Lehrer|Lehrerin|Arzt|Ärztin|Kellner|Kellnerin|Bäcker|Bäckerin)\.",
    "comparative": r"\b(älter|größer|kleiner) als\b",
    "question": r"^(Wen|Wem|Was|Warum|Wann) .*\?$",
    "coordination with denn": r", denn ",
    "inversion after deshalb": r", deshalb (\w+) ",
}


@pytest.mark.parametrize("name", PHENOMENA)
def test_phenomenon_occurs(name: str, raw: list[tuple[str, str]]) -> None:
    assert sum(bool(re.search(PHENOMENA[name], target)) for _, target in raw) >= 5


def test_after_a_fronted_adverb_the_finite_verb_is_second(raw: list[tuple[str, str]]) -> None:
    english_first = {"Today": "Heute", "Yesterday": "Gestern", "Tomorrow": "Morgen", "Now": "Jetzt"}
    auxiliaries = "hat haben ist sind wird werden wurde wurden kann muss will darf soll möchte habe bin"
    past_modals = "konnte konnten musste mussten wollte wollten"
    finite = {form for v in VERBS for form in (*v.present, *v.past)} | {*auxiliaries.split(), *past_modals.split()}
    finite |= {form for modal in MODALS for form in (*modal.de, *modal.de_not)}
    fronted = [pair for pair in raw if pair[0].split()[0] in english_first]
    assert len(fronted) > 100
    for source, target in fronted:
        first, second = target.split()[:2]
        assert first == english_first[source.split()[0]]
        assert second in finite, target


# -------------------------------------------------------------------- word for word is not translation


def test_word_for_word_translation_fails(train: list[tuple[str, str]]) -> None:
    def tokens(text: str) -> list[str]:
        text = text[0].lower() + text[1:]
        return re.findall(r"[\w']+|[,.?]", text)

    pairs = [(tokens(source), tokens(target)) for source, target in train if length(source) <= 20]
    learn, check = pairs[:-200], pairs[-200:]
    together: dict[str, Counter[str]] = defaultdict(Counter)
    in_source, in_target = Counter(), Counter()
    for source, target in learn:
        in_source.update(set(source))
        in_target.update(set(target))
        for word in set(source):
            together[word].update(set(target))
    best = {
        word: max(
            counts,
            key=lambda other, word=word, counts=counts: (
                2 * counts[other] / (in_source[word] + in_target[other]),
                other,
            ),
        )
        for word, counts in together.items()
    }
    hypotheses = [" ".join(best.get(word, word) for word in source) for source, _ in check]
    bleu = sacrebleu.corpus_bleu(hypotheses, [[" ".join(target) for _, target in check]]).score
    assert bleu < 30


def test_the_has_many_translations(raw: list[tuple[str, str]]) -> None:
    forms = Counter()
    for source, target in raw:
        if source.lower().split().count("the") == 1 and length(source) <= 6:
            forms.update(set(re.findall(r"\b(der|die|das|den|dem|im|ins|am|zum|zur)\b", target.lower())))
    assert sum(count >= 5 for count in forms.values()) >= 5


def test_word_order_differs(raw: list[tuple[str, str]]) -> None:
    """Nouns and verbs that are easy to align by their dictionary forms often change places."""
    match = {n.en: n.singular[ACC] for n in NOUNS} | {n.en_plural: n.plural[NOM] for n in NOUNS if n.en_plural}
    for v in VERBS:
        if not (v.ambiguous or v.particle or v.prefix):
            match |= {v.en[1]: v.present[SG], v.en[2]: v.past[SG], v.en[3]: v.participle}
    crossed = total = 0
    for source, target in raw[:6000]:
        german = re.findall(r"\w+", target)
        places = [german.index(match[word]) for word in re.findall(r"\w+", source) if match.get(word) in german]
        if len(places) >= 4:
            total += 1
            crossed += places != sorted(places)
    assert crossed / total > 0.5
