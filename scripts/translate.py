"""See conf/translate.yaml for the options; `python scripts/translate.py --help` prints them."""

from s2s.commands.console import run_script
from s2s.commands.translate import translate

if __name__ == "__main__":
    run_script(__file__, translate)
