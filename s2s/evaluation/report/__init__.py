"""Reports for people: a table for the terminal, pictures and data as files, and one self-contained HTML page.

`results` is what a report is about; `palette` fixes how a system looks everywhere; `canvas` is the ground of all
pictures; `prose` turns numbers into sentences.
"""

from __future__ import annotations

from s2s.evaluation.report.attention import AttentionMap
from s2s.evaluation.report.files import write_files
from s2s.evaluation.report.length import Series, View, length_picture
from s2s.evaluation.report.page import write_page
from s2s.evaluation.report.picture import Curve, attention_picture, curves_picture
from s2s.evaluation.report.results import Results, System, TestSet, Training, gather
from s2s.evaluation.report.scaling import scaling_picture
from s2s.evaluation.report.table import evaluation_table, paired_table, systems_table

__all__ = [
    "AttentionMap",
    "Curve",
    "Results",
    "Series",
    "System",
    "TestSet",
    "Training",
    "View",
    "attention_picture",
    "curves_picture",
    "evaluation_table",
    "gather",
    "length_picture",
    "paired_table",
    "scaling_picture",
    "systems_table",
    "write_files",
    "write_page",
]
