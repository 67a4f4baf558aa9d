"""See conf/evaluate.yaml for the options; `python scripts/evaluate.py --help` prints them."""

from s2s.commands.console import evaluate

if __name__ == "__main__":
    evaluate()
