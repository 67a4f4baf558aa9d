"""The console of all commands: composed configuration, logging to stderr, errors as one line, exit codes.

Exit codes: 0 done; 2 bad input (one line on stderr); 130, 143 and 129 interrupted by Ctrl-C, SIGTERM and SIGHUP; 1 the
reader of stdout went away, or a defect of s2s.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException
from tqdm import tqdm

from s2s.errors import S2SError
from s2s.schema import keys_of_type
from s2s.training.interrupt import ENDING

BAD_INPUT = 2
INTERRUPTED = 130

log = logging.getLogger(__name__)

# For conf/lab.yaml: several lists as one; what is no list is checked where it is used.
OmegaConf.register_new_resolver(
    "joined",
    lambda *lists: [item for one in lists for item in (one if isinstance(one, (list, ListConfig)) else [one])],
    replace=True,
)

# For conf/hparams_search/optuna.yaml: the better score is the higher BLEU, or the lower loss.
OmegaConf.register_new_resolver(
    "direction", lambda metric: "minimize" if metric == "loss" else "maximize", replace=True
)


class LineFormatter(logging.Formatter):
    """The message, with its level if that is a warning or an error."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return prefix + super().format(record)


class TqdmHandler(logging.Handler):
    """Log lines on stderr that do not tear progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def run_command(name: str) -> None:
    """Runs `s2s.commands.<name>.<name>` with the configuration that `conf/<name>.yaml` and the command line compose.

    The command's module is imported when it runs: `--help` and a mistyped option take no second to answer.
    """
    # Hydra would print its own report of an exception and swallow it; this makes it raise.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # Processes started from here (jobs, pip) look for modules in no folder that happens to be the current one.
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # Python 3.11 and later
    if sys.stderr is None:  # closed: nobody wants to hear
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    sweep = ("-m", "--multirun")
    several = any(argument in sweep for argument in sys.argv[1:])
    sys.argv[1:] = sorted(
        sys.argv[1:], key=lambda argument: argument not in sweep
    )  # Hydra wants it before or after all
    sys.argv[1:] = [as_text(argument, several) for argument in sys.argv[1:]]
    main = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=name)
    job = _Job(name)
    unhandled = [number for number in ENDING if signal.getsignal(number) == signal.SIG_DFL]  # nohup ignores one
    for number in unhandled:
        signal.signal(number, _interrupt)
    try:
        main(job)()
    except (S2SError, HydraException, OmegaConfBaseException) as error:
        if not getattr(error, "reported", False):
            report(error)
        sys.exit(BAD_INPUT)
    except Exception as error:
        if job.started:
            raise
        report(error if isinstance(error, OSError) else _not_composed(error))
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt as stopped:  # where nothing has to be saved first
        tqdm.write("interrupted", file=sys.stderr)
        sys.exit(stopped.args[0] if stopped.args else INTERRUPTED)
    finally:
        for number in unhandled:
            signal.signal(number, signal.SIG_DFL)
        _flush_stdout()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(128 + number)  # the shells' convention


def _flush_stdout() -> None:
    """Writes what is left; where that is impossible, a command has said so, and Python at its end must not again."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def conf_folder() -> Path:
    """The configurations: beside the package in a checkout, within it where s2s is installed from a wheel."""
    package = Path(__file__).resolve().parent.parent
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


# The console commands `s2s-train` and so on.
train, translate, evaluate, compare, lab, benchmark = (
    functools.partial(run_command, name) for name in ("train", "translate", "evaluate", "compare", "lab", "benchmark")
)


class _Job:
    """One job of a single run or of a sweep."""

    def __init__(self, name: str) -> None:
        self.started = False
        self.__name__ = name  # Hydra calls the job so

    def __call__(self, config: DictConfig) -> float | None:
        """Runs the command; `train` returns its validation score, for sweepers."""
        self.started = True
        try:
            module = importlib.import_module(f"s2s.commands.{self.__name__}")
            command: Callable[[DictConfig], float | None] = getattr(module, self.__name__)
            return command(config)
        except BrokenPipeError:  # the reader of stdout went away, as in `… | head`
            sys.exit(1)
        except (S2SError, HydraException, OmegaConfBaseException, OSError) as error:
            report(error)  # of the system's own errors, too: a full disk, a folder where a file should be
            if HydraConfig.get().mode == RunMode.RUN:
                sys.exit(BAD_INPUT)  # Hydra adds a line of its own to anything else
            error.reported = True  # type: ignore[union-attr]  # in a sweep the other jobs go on
            raise


def report(error: Exception) -> None:
    """The one line."""
    tqdm.write(f"error: {one_line(error)}", file=sys.stderr)


def one_line(error: Exception) -> str:
    """The message of an error of s2s, Hydra or OmegaConf without line breaks and without hints at internals."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("full_key:", "object_type=", "reference_type="))]
    cause = error.__cause__
    if isinstance(error, HydraException) and isinstance(cause, OmegaConfBaseException):
        kept += [line.strip() for line in str(cause).splitlines()[:1]]
    return "; ".join(kept) or type(error).__name__


def compose_values(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The resolved values of a configuration with overrides.

    Raises:
        S2SError: there is no such configuration.
    """
    try:
        config = hydra.compose(name, [as_text(override) for override in overrides])
    except (HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        raise _not_composed(error) from error
    return plain(config)


def _not_composed(error: Exception) -> S2SError:
    """For errors that Hydra has no type of its own for, such as that of `model=null`."""
    return S2SError(f"config: the overrides make no configuration: {one_line(error)}")


def plain(config: DictConfig) -> dict[str, Any]:
    """The resolved config as plain values.

    Raises:
        S2SError: a mandatory value (`???`) is missing.
    """
    missing = sorted(_missing(OmegaConf.to_container(config, resolve=False)))
    if missing:
        raise S2SError(f"config: set {', '.join(f'{key}=…' for key in missing)}: there is no default")
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        raise S2SError(f"config: {one_line(error)}") from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _missing(values: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys of mandatory values; OmegaConf's own `missing_keys` fails at an interpolation that needs one."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _missing(value, f"{prefix}.{key}" if prefix else str(key))
    elif values == "???":
        yield prefix


def overrides() -> list[str]:
    """The overrides on the command line, without Hydra's own."""
    return list(HydraConfig.get().overrides.task)


def overridden_section(config: DictConfig, name: str) -> dict[str, Any]:
    """The settings of a section that the user overrode: single keys, or a whole group (`decoding=default`).

    conf/translate.yaml and conf/evaluate.yaml show all keys of a section with their usual values; the run's own values
    hold unless they are overridden.
    """
    keys, values = list(map(key_of, overrides())), plain(config)[name]
    if name in keys:
        return dict(values)
    typed = {key.split(".")[1] for key in keys if key.startswith(f"{name}.")}
    return {key: value for key, value in values.items() if key in typed}


def key_of(typed: str) -> str:
    """`data.path` of `++data.path=corpus`."""
    return typed.lstrip("+~").split("=", 1)[0]


# Options of the commands' own that hold text, or a list of texts; those of a run's configuration join them. What is
# typed for one is its value: Hydra's grammar has numbers (`run_dir=2024`, `data.target=nan`), and refuses `=` and
# letters beyond ASCII outside of quotes.
TEXT = frozenset({"run", "input", "output", "reference", "source", "run_dir", "scaling", "environments"})
TEXT_LISTS = frozenset({"splits", "trust"})


@functools.cache
def _text_options() -> tuple[frozenset[str], frozenset[str]]:
    from s2s.config import RunConfig

    names = ("cell", "mixer.type", "mixer.cell")
    classes = (f"model.{side}.{name}" for side in ("encoder", "decoder") for name in names)
    texts = TEXT.union(keys_of_type(RunConfig, str), ("model.name", "model.cell"), classes)
    return texts, TEXT_LISTS.union(keys_of_type(RunConfig, list[str]))


def as_text(override: str, several: bool = False) -> str:
    """An override of an option that holds text with its value, or each item of its list, in Hydra's quotes.

    Values that are quoted already and `null` stay. With `several`, a comma separates the values of a sweep, and its
    functions (`choice(…)`) stay, too.
    """
    key, _, value = override.partition("=")
    options, lists = _text_options()
    if key.lstrip("+~") in lists and value.startswith("[") and value.endswith("]"):
        items = _items(value[1:-1]) if value[1:-1].strip() else []
        return f"{key}=[{','.join(_quoted(item) for item in items)}]"
    if key.lstrip("+~") not in options or "=" not in override or (several and re.fullmatch(r"\w+\(.*\)", value)):
        return override
    return f"{key}={','.join(map(_quoted, _items(value))) if several else _quoted(value)}"


def _items(text: str) -> list[str]:
    """The items of a list, which commas separate; one in quotes may hold commas."""
    found = re.findall(r"""\s*((['"])(?:\\.|(?!\2).)*\2(?=\s*(?:,|$))|[^,]*)(?:,|$)""", text, re.DOTALL)
    items = [item.strip() for item, _ in found]
    return items if text.rstrip().endswith(",") else items[:-1] if len(items) > 1 and not items[-1] else items


def _quoted(value: str) -> str:
    if value in ("null", "???") or re.fullmatch(r"""(['"]).*\1|\{.*\}""", value, re.DOTALL):
        return value
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def as_typed(override: str) -> str:
    """The inverse of `as_text`, for names and messages."""
    key, sign, value = override.partition("=")
    if key.lstrip("+~") not in _text_options()[0] or not re.fullmatch(r"'.*'", value, re.DOTALL):
        return override
    return key + sign + re.sub(r"(\\+)('|$)", lambda m: m[1][: len(m[1]) // 2] + m[2], value[1:-1])
