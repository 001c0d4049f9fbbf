"""Speed, as ratios within one run: never an absolute time, never a test.

Everything that is compared runs in turn, as whole processes, against servers in their own process:
`python -m benchmarks` prints the tables, `python -m benchmarks peers --rounds 1 --clients 10` one
of them quickly.
"""
