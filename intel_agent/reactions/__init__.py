"""What the cluster is made to do about devices that are unhealthy: a condition of the node, and what follows from it.

Nothing here runs unless it is configured. Whatever the API server does not take is tried again; nobody waits for it.
"""
