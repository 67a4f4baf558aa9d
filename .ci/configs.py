"""Composes every configuration of conf/ and checks it; runs the data configurations on folders in the hub's layouts."""

import json
import tempfile
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from s2s.commands.console import plain
from s2s.config import TEXT_TYPES, parse
from s2s.data.corpus import load_corpus
from s2s.models import check_model

# What some choices need beside them: a cosine has to know its length; recurrent models name their decoder's attention.
NEEDS = {("optim", "quick"): ["training=quick"], ("model/decoder", "transformer"): ["model=transformer"]}
CONF = Path(__file__).resolve().parent.parent / "conf"


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def check(overrides: list[str]) -> dict[str, Any]:
    values = plain(compose("train", overrides))
    values.pop("run_dir")
    kind = values["objective"]["type"]
    parse(values, lambda v: check_model(v["model"], v["data"]["tokenizer"]["joint"], v["trust"], objective=kind))
    return values


def main() -> None:
    splits = ["data.train=train", "data.validation=validation"]
    needed = {"files": ["data.source=en", "data.target=de", *splits], "text": ["data.language=en", *splits]}
    composed = 0
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for model in names("model"):
            decoder_only = compose("train", [f"model={model}"])["model"].get("type") == "decoder_only"
            of_text = ["causal_lm" if decoder_only else "masked_lm", "denoising"]
            for data in names("data") if model == "transformer" else ("grammar", "grammar_text"):
                for objective in of_text if data in TEXT_TYPES else ["translation"]:
                    check([f"objective={objective}", f"model={model}", f"data={data}", *needed.get(data, [])])
                    composed += 1
        parts = [
            "training",
            "optim",
            "decoding",
            "evaluation",
            "data/tokenizer",
            "model/decoder/attention",
            "experiment",
        ]
        for group in [*parts, "model/encoder", "model/decoder"]:
            for name in names(group):
                check([f"{group}={name}", *NEEDS.get((group, name), [])])
                composed += 1
        for data in names("ladder"):
            for size, ladder in compose("compare", [f"data={data}"])["ladder"].items():
                for model in names("model"):
                    check([*ladder.get("all", []), *ladder.get(model, []), f"model={model}", f"data={data}"])
                    composed += 1
                assert set(ladder) <= {"all", *names("model")}, f"{size}: no such model"
        for data in names("data"):
            if data not in ("grammar", "grammar_text"):
                composed += read(data)
    print(f"{composed} configurations composed and checked")


def read(data: str) -> int:
    """Reads a generated folder through the configuration of a hub data set or of local files."""
    pairs = [(f"Sentence {n}.", f"Satz {n}.") for n in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        if data == "files":
            for split in ("train", "validation"):
                for side, suffix in enumerate(("en", "de")):
                    Path(folder, f"{split}.{suffix}").write_text("".join(f"{p[side]}\n" for p in pairs))
            where = [f"data.train={folder}/train", f"data.validation={folder}/validation"]
            values = check([f"data={data}", "data.source=en", "data.target=de", *where])
        elif data == "text":
            for split in ("train", "validation"):
                Path(folder, f"{split}.txt").write_text("".join(f"{de}\n" for _, de in pairs))
            where = [f"data.train={folder}/train.txt", f"data.validation={folder}/validation.txt"]
            values = check([f"data={data}", "data.language=de", "objective=denoising", *where])
        else:
            values = check([f"data={data}", f"data.path={folder}", "data.subset=null"])
            for split in (values["data"]["train"], values["data"]["validation"], *values["data"]["tests"]):
                rows = [{"translation": {"en": en, "de": de}} for en, de in pairs]
                Path(folder, f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        corpus = load_corpus(parse(values).data)
        assert list(corpus.train.target) == [de for _, de in pairs]
        assert len(corpus.validation) == 3
    return 1


if __name__ == "__main__":
    main()
