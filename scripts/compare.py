"""See conf/compare.yaml for the options; `python scripts/compare.py --help` prints them."""

from s2s.commands.console import compare

if __name__ == "__main__":
    compare()
