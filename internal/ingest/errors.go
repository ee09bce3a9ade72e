package ingest

import (
	"errors"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// ErrOtherForm is returned by Form.Read when upstream answered 2xx but did not understand the form
// (remote_write v2 without Written headers): nothing was stored, and the push has to go again in another form.
var ErrOtherForm = errors.New("upstream does not speak this form")

// Malformed returns the error of a body that is not well formed or not valid for its protocol.
func Malformed(what string, err error) *fault.Error {
	return fault.New(fault.Malformed, "decode %s: %v", what, err)
}
