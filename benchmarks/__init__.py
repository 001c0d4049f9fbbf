"""Speed, as ratios within one run: never an absolute time, never a test.

`python -m benchmarks` prints each figure beside its target.
"""
