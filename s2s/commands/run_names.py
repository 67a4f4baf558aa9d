"""Names of run directories that the user did not name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s2s.commands.console import as_typed, key_of
from s2s.training.checkpoint import MAY_CHANGE


def default_run_dir(values: Mapping[str, Any], typed: Sequence[str]) -> Path:
    """`runs/<data>/<model>[-<overrides>]-s<seed>`; the override `optim.lr=0.01` is called `optim.lr_0.01`.

    The name needs no quotes in a shell or an option. A hash tells apart what would have the same name without it:
    values with other signs, long names. Overrides that a resumed run may change have no part in the name.
    """
    last = {key_of(override): as_typed(override).lstrip("+") for override in typed}  # of an option that is set twice
    named = sorted(o for key, o in last.items() if _counts(key))
    exact = all(re.fullmatch(r"[a-z_./]+=[A-Za-z0-9.]+(e-\d+)?", override) for override in named)
    words = _portable("-".join(override.replace("=", "_") for override in named))
    if not exact or len(words) > 60:
        words = f"{words[:50]}-{_hash(*named)}"
    names = str(values["data"]["name"]), str(values["model"]["name"])
    data, model = (n if n and n == _portable(n) else f"{_portable(n)}-{_hash(n)}".strip("-") for n in names)
    return Path("runs", data) / "-".join(part for part in (model, words, f"s{values['seed']}") if part)


def _counts(key: str) -> bool:
    """Whether an override has a part in the name."""
    free = key.startswith(("decoding.", "evaluation."))
    return not free and key not in ("data", "model", "seed", "run_dir", *MAY_CHANGE)


def _portable(name: str) -> str:
    """A name of a file, of ASCII letters, digits and `_.+-`."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("_.")


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]


def earlier_run_dir(values: Mapping[str, Any], typed: Sequence[str]) -> Path:
    """The name that s2s 0.1 gave such a run, with `=` in it, so that the same command resumes it."""
    overrides = [as_typed(o) for o in typed]
    named = sorted(o.lstrip("+~") for o in overrides if _counts(key_of(o)))
    short = "-".join(re.sub(r"^.*\.(?=[^.=]*=)|^.*/(?=[^/=]*=)", "", o) for o in named)
    words = re.sub(r"[^\w.=+-]+", "_", short).strip("_")
    if len(words) > 60 or words != short:
        words = f"{words[:50]}-{_hash(*named)}"
    name = "-".join(part for part in (values["model"]["name"], words, f"s{values['seed']}") if part)
    return Path("runs", values["data"]["name"], name)
