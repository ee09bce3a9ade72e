package ingest

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// ErrOtherForm is returned by Form.Read when upstream answered 2xx but did not understand the form
// (remote_write v2 without Written headers): nothing was stored, and the push has to go again in another form.
var ErrOtherForm = errors.New("upstream does not speak this form")

// Take books n bytes, if there is somebody to book them to.
func (c Charge) Take(n int) error {
	if c == nil {
		return nil
	}
	if err := c(n); err != nil {
		return err
	}
	return nil // and not c's, for a nil *fault.Error is no nil error
}

// TextReply is the answer of doors that answer in plain text: one line, whatever text holds.
func TextReply(status int, text string) Reply {
	return Reply{Status: status, ContentType: "text/plain; charset=utf-8", Body: []byte(oneLine(text) + "\n")}
}

func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// RefusalText says on one line what of a push was refused and why.
func RefusalText(refused []Refusal) string {
	texts := make([]string, len(refused))
	for i, r := range refused {
		texts[i] = fmt.Sprintf("%d items refused (%s): %s", r.Items, r.Reason, r.Text)
	}
	return oneLine(strings.Join(texts, "; "))
}

// Malformed returns the error of a body that is not well formed or not valid for its protocol.
func Malformed(what string, err error) *fault.Error {
	return fault.New(fault.Malformed, "decode %s: %v", what, err)
}
