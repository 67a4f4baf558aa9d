"""See conf/translate.yaml for the options; `python scripts/translate.py --help` prints them."""

from s2s.commands.console import translate

if __name__ == "__main__":
    translate()
