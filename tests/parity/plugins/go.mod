// The existing device plugins, built to be compared with the agent: nothing of this is part of the product.
module intel-agent/tests/parity/plugins

go 1.26.0

require github.com/intel/intel-device-plugins-for-kubernetes v0.36.0
