"""The cluster as this node's agent knows it: its own Node object, read, and freed of one taint.

Nothing here runs unless `nodeOverrides` or `startupTaint` is used.
"""
