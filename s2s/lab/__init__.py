"""The lecture note's claims as experiments: each one states a claim, measures it, and says what the numbers support.

One module holds one experiment (`Experiment`, see `s2s.lab.experiment`), one file of `conf/lab/` its two sizes: `quick`
shows the mechanism in a minute or two, `full` repeats it with several seeds, on real text where that matters, and gives
a verdict. `s2s.lab.bench` does the work of an experiment once and keeps it; `s2s.lab.page` shows all of them.
"""
