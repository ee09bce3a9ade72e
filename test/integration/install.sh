#!/bin/sh
# Installs the servers that the tests start but a Go module cannot bring: Debian's Prometheus and node-exporter.
# Does nothing where both are there; needs root otherwise.
set -eu

if command -v prometheus >/dev/null && command -v prometheus-node-exporter >/dev/null; then
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends prometheus prometheus-node-exporter
