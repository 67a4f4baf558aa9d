"""See conf/benchmark.yaml for the options; `python scripts/benchmark.py --help` prints them."""

from s2s.commands.console import benchmark

if __name__ == "__main__":
    benchmark()
