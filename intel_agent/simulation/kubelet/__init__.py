"""Kubelet's device manager in miniature, over real sockets, as strict as the real one.

It follows Kubernetes 1.36: what a plugin sees of it, a plugin sees of a real kubelet, quirks included.
What it does beyond that: it writes down broken rules (`violations`) and everything that happens (`transcript`).
"""

from intel_agent.simulation.kubelet.kubelet import SimulatedKubelet
from intel_agent.simulation.kubelet.state import (
    AdmissionError,
    ContainerAnswer,
    Happening,
    Listed,
    RegisterCall,
    Resource,
)

__all__ = ["AdmissionError", "ContainerAnswer", "Happening", "Listed", "RegisterCall", "Resource", "SimulatedKubelet"]
