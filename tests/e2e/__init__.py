"""The agent on a real kubelet: see README.md."""
