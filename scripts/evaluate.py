"""See conf/evaluate.yaml for the options; `python scripts/evaluate.py --help` prints them."""

from s2s.commands.console import run_script
from s2s.commands.evaluate import evaluate

if __name__ == "__main__":
    run_script(__file__, evaluate)
