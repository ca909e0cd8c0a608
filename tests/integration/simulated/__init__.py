"""The simulated kubelet does to a plugin what a real one does."""
