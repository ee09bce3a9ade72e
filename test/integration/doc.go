// Package integration drives the built gateway as users do: the binary, a config file, real senders in front of it and
// real receivers behind. It never reaches into the gateway's packages, binds only to 127.0.0.1 and stops only what it
// started. Nobody imports it; `go test ./...` in this folder is its only caller.
package integration
