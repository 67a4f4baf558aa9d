"""Peer toolkits that s2s is compared with, each in its own environment.

`worker.py` runs in such an environment and does not import s2s. One module per program builds the model of a shape:
`train(spec, batches)` and `decode(spec, batches)` return a function that makes a pass over all batches, and facts about
the model.
"""
