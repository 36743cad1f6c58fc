"""Volumes as people have them: a table of inputs, and what every path makes of each.

`python -m tests.inputs` prints the counts that docs/data.md has.
"""
