"""Changes to data, training or the released density that should lower memorization.

A kind of mitigation is one file, and one entry in `memo.mitigations.kinds`.
"""
