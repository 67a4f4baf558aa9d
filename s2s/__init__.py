"""s2s: sequence-to-sequence machine translation with pluggable recurrent cells, attention and a Transformer baseline.

import s2s
run = s2s.load("runs/grammar/lstm_attention-s1")
run.translate(["The dog sleeps."])
"""

from s2s.contract import check_cell
from s2s.errors import S2SError
from s2s.runs import Run, load
from s2s.version import __version__

__all__ = ["Run", "S2SError", "__version__", "check_cell", "load"]
