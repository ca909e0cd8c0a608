"""A node without hardware: machines as text trees, and kubelet's device manager in miniature.

Used by `intel-agent demo`, by tests, and by anyone who wants a cluster with pretended devices.
"""
