"""See conf/lab.yaml for the options; `python scripts/lab.py --help` prints them."""

from s2s.commands.console import run_script

if __name__ == "__main__":
    run_script(__file__)
