"""See conf/train.yaml for the options; `python scripts/train.py --help` prints them."""

from s2s.commands.console import train

if __name__ == "__main__":
    train()
