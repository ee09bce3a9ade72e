#!/bin/sh
# vmagent. It retries everything but 400 and 409 for ever and keeps what waits on disk.
# forcePromProto: its own zstd protocol would be refused with 415 once at every start, before it goes on with snappy.
exec vmagent \
  -promscrape.config=/etc/vmagent/scrape.yml \
  -remoteWrite.url=http://telemetry-gateway.telemetry.svc:8080/api/v1/write \
  -remoteWrite.bearerTokenFile=/etc/vmagent/gateway-token \
  -remoteWrite.forcePromProto=true \
  -remoteWrite.tmpDataPath=/var/lib/vmagent \
  -remoteWrite.maxDiskUsagePerURL=10GB
