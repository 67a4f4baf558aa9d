"""The built-in corpus: English sentences and their German translations, made by a synchronous grammar.

A *synchronous* grammar (Aho & Ullman 1969, "Syntax directed translations and the pushdown assembler"; Chiang 2007,
"Hierarchical phrase-based translation") writes two languages at once: each rule builds a phrase and its translation
from the same parts, in the order and with the endings that each language wants. Here a rule is a method that makes
English and German at once. Nothing is downloaded, and the same seed gives the same corpus on every machine.

The German is that of a language course, with the problems that make translation hard:

- verb second, also after a fronted phrase: "Today the man buys a hat." → "Heute kauft der Mann einen Hut."
- the verb last in subordinate clauses: "… because he has bought a hat." → "…, weil er einen Hut gekauft hat."
- separable verbs: "He calls her." → "Er ruft sie an.", but "… that he calls her." → "…, dass er sie anruft."
- modal verbs, perfect, future and passive, whose second half stands at the end: "She must not read the letter today."
  → "Sie darf heute den Brief nicht lesen."
- infinitive clauses: "He goes to the market in order to buy a hat." → "Er geht auf den Markt, um einen Hut zu kaufen."
- case, gender and number of articles, adjectives, nouns: "He helps the old boys." → "Er hilft den alten Jungen."
- relative clauses in relative clauses, moved behind the verb that they would cut off: "He has seen the dog that chased
  the cat." → "Er hat den Hund gesehen, der die Katze jagte."
- words that depend on others: "knows him / knows that" → "kennt / weiß", "the boy eats / the dog eats" → "isst /
  frisst", "must / must not" → "muss / darf nicht", "when he saw / when he sees" → "als / wenn", "puts the book / the
  lamp on the table" → "legt / stellt", "She is a teacher." → "Sie ist Lehrerin."
- "it" → er, sie, es by its noun: "He buys a lamp and repairs it." → "Er kauft eine Lampe und repariert sie."

Each English sentence has one translation, so a perfect model reaches 100 BLEU. This holds because what could be
attached in two ways has one reading: a relative clause belongs to the nearest noun, an adverb to the nearest verb, an
object "it" is the object before, a subject "it" the subject before.

Length is the number of words of the English sentence, 3 to `longest` (60). A rule gets the number of words that it
should fill and divides it among its parts; a part with much room becomes a clause with clauses inside, so long
sentences are deep rather than long lists. A sentence whose length falls outside the wanted bin is thrown away.
`TRAIN_SHARES` has the lengths of train and validation; the test split has equally many sentences in each of six bins of
equal width.

The files, from words to the corpus:

- words: `adjectives`, `nouns`, `verbs`, `determiners`, `adverbs`, `conjunctions`; `word_groups`: which go together;
  `lexicons`: how many of them are used
- their forms: `declension`, `conjugation`, `phrases`
- rules, each class built on the one before: `state`, `noun_phrases`, `predicates` (the German order: `middle_field`),
  `clauses`, `sentences`
- `splits`: train, validation and test
"""

from __future__ import annotations

from s2s.data.grammar.phrases import pronoun
from s2s.data.grammar.sentences import Grammar
from s2s.data.grammar.splits import LONGEST, TRAIN_SHARES, generate, length_bins

__all__ = ["LONGEST", "TRAIN_SHARES", "Grammar", "generate", "length_bins", "pronoun"]
