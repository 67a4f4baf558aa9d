"""See conf/lab.yaml for the options; `python scripts/lab.py --help` prints them."""

from s2s.commands.console import lab

if __name__ == "__main__":
    lab()
