"""intel-agent: every Intel accelerator of a Kubernetes node, from one process."""
