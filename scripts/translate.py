"""See conf/translate.yaml for the options; `python scripts/translate.py --help` prints them."""

from s2s.commands.console import run_script

if __name__ == "__main__":
    run_script(__file__)
