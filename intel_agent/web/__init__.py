"""What is told over HTTP: metrics, probes. Read only."""
