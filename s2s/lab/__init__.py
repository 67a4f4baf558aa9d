"""The lecture note's claims as experiments, each with a claim, a measurement and a conclusion.

A module holds one experiment (see `s2s.lab.experiment`), a file of `conf/lab/` its two sizes: `quick` shows the
mechanism in a minute or two; `full` repeats it with several seeds, on real text where that matters, and draws a
conclusion. `s2s.lab.runner` runs the jobs of an experiment once and caches their results; `s2s.lab.page` writes the
page of all experiments.
"""
