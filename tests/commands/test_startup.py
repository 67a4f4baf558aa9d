"""What scripts import before they answer: nobody waits for torch to read `--help`, nor for `datasets` to translate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = ("train", "translate", "evaluate", "compare", "lab", "benchmark")
TOOLS = ("datasets", "pandas", "pyarrow", "matplotlib", "sacrebleu")

# Runs scripts one after the other; the last line says what each had imported at its end.
CODE = """
import json, runpy, sys
from hydra.core.global_hydra import GlobalHydra
found = {}
for path, *arguments in json.loads(sys.argv[1]):
    sys.argv = [path, *arguments]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as leaving:
        assert not leaving.code, (path, leaving.code)
    GlobalHydra.instance().clear()
    found[path] = [name for name in {names} if name in sys.modules]
print("\\n" + json.dumps(found))
"""


def _imported(calls: list[list[str]], names: tuple[str, ...], folder: Path, stdin: bytes = b"") -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("{names}", repr(names)), json.dumps(calls)],
        cwd=folder,
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_help_imports_nothing_large(root: Path, tmp_path: Path) -> None:
    paths = [str(root / "scripts" / f"{name}.py") for name in SCRIPTS]
    assert {str(path) for path in (root / "scripts").glob("*.py")} == set(paths)
    found = _imported([[path, "--help"] for path in paths], ("torch", *TOOLS), tmp_path)
    assert found == {path: [] for path in paths}


def test_translating_imports_no_data_sets_and_no_pictures(root: Path, trained: Path, tmp_path: Path) -> None:
    path = str(root / "scripts" / "translate.py")
    call = [path, f"run={trained}", "device=cpu", "decoding.max_ratio=0.5"]
    assert _imported([call], TOOLS, tmp_path, b"The dog sleeps.\n") == {path: []}
