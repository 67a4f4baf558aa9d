"""Reports for people: a table for the terminal, pictures as files, and one self-contained HTML page.

`palette` fixes how a system looks everywhere; `canvas` is the ground of all pictures; `prose` turns numbers into
sentences.
"""

from __future__ import annotations

from s2s.evaluation.report.page import AttentionMap, System, TestSet, write_page
from s2s.evaluation.report.picture import Curve, Series, attention_picture, curves_picture, length_picture
from s2s.evaluation.report.scaling import scaling_picture
from s2s.evaluation.report.table import evaluation_table, paired_table, systems_table

__all__ = [
    "AttentionMap",
    "Curve",
    "Series",
    "System",
    "TestSet",
    "attention_picture",
    "curves_picture",
    "evaluation_table",
    "length_picture",
    "paired_table",
    "scaling_picture",
    "systems_table",
    "write_page",
]
