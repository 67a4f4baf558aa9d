"""The programs that s2s is measured against, each in an environment of its own.

`worker.py` runs inside of such an environment and knows nothing of s2s; beside it, one module for each program builds
the model of a shape and says what one pass is: `train(spec, batches)` and `decode(spec, batches)` return a function
that does all batches once, and facts about the model.
"""
