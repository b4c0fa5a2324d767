"""The same search in other people's loops: a sampler for Optuna and a searcher for Ray Tune.

Needs neither NNI nor torch. Each file imports the framework that it is for, and nothing else does.
"""
