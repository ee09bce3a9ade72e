// Package secret holds what must never be shown: values that print as <secret>, and the files that they come from. Store
// reads each file once, watches all of them, and offers new content to whoever uses it; a file that goes bad keeps its
// last good content. It never logs or quotes content, and it does not know what a secret is for.
// internal/gateway drives the Store; internal/tenant and internal/egress take Values.
package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// hidden is what a secret looks like everywhere but in Reveal.
const hidden = "<secret>"

// Value is one secret. It prints as <secret> with every verb of fmt and in JSON, YAML, slog and text.
// It belongs in exported fields only: fmt cannot call methods on unexported ones, and prints what is in them.
type Value string

// Reveal returns the secret itself, for the one place that sends or hashes it.
func (v Value) Reveal() string { return string(v) }

// Format implements fmt.Formatter: one method covers every verb, %x and %#v included.
func (Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText implements encoding.TextMarshaler, for JSON and XML too.
func (Value) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalYAML implements yaml.Marshaler.
func (Value) MarshalYAML() (any, error) { return hidden, nil }

// LogValue implements slog.LogValuer.
func (Value) LogValue() slog.Value { return slog.StringValue(hidden) }

// Content is what a file holds, as it is. Whoever gets one shares it: it must not be changed. It prints as <secret>.
type Content []byte

// Format implements fmt.Formatter.
func (Content) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText implements encoding.TextMarshaler, for JSON and XML too.
func (Content) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalYAML implements yaml.Marshaler.
func (Content) MarshalYAML() (any, error) { return hidden, nil }

// LogValue implements slog.LogValuer.
func (Content) LogValue() slog.Value { return slog.StringValue(hidden) }

// Line is one secret of a client's file and where it stands, so that a status can name it without showing it.
type Line struct {
	// Number counts from 1 as an editor does, blank lines and comments included.
	Number int
	Value  Value
}

// Lines returns the secrets of a client's file: one a line, trimmed. Blank lines and # comments are none.
func Lines(c Content) []Line {
	var lines []Line
	number := 0
	for raw := range bytes.Lines(withoutBOM(c)) {
		number++
		if s := bytes.TrimSpace(raw); len(s) > 0 && s[0] != '#' {
			lines = append(lines, Line{Number: number, Value: Value(s)})
		}
	}
	return lines
}

// One returns the one secret of an upstream's file, trimmed. A # begins no comment here: the secret may start with it.
func One(c Content) (Value, error) {
	s := bytes.TrimSpace(withoutBOM(c))
	if len(s) == 0 {
		return "", errEmpty
	}
	if n := 1 + bytes.Count(s, []byte("\n")); n > 1 {
		return "", fmt.Errorf("holds %d lines, want exactly 1 secret", n)
	}
	// No header can carry these; most often the file is UTF-16 or a binary.
	if bytes.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("holds control characters, want plain text")
	}
	return Value(s), nil
}

// withoutBOM drops the byte order mark that some editors put before the first secret, where nobody sees it.
func withoutBOM(c Content) []byte { return bytes.TrimPrefix(c, []byte("\ufeff")) }
