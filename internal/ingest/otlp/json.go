package otlp

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// jsonWeight is how many bytes pdata's structs and the protobuf made of them take for each byte of JSON at the most
// that checkJSON lets pass.
const jsonWeight = 24

// objectBytes is what the largest of pdata's structs takes for an object with nothing in it; jsonSlack lets small
// pushes be as dense as they like.
const (
	objectBytes = 320
	jsonSlack   = 64 << 10
)

var (
	errJSON        = errors.New("json: not well formed")
	errJSONNesting = errors.New("json: nested over 64")
	errJSONKey     = errors.New("json: a field without a name")
)

// checkJSON refuses what pdata's reader must not be given: what is not JSON or has something after its end (the reader
// stops early), deep nesting (it recurses), fields without a name (it takes them for the end of the object and silently
// skips what follows), and a mass of tiny objects, each of which becomes a struct many times its size.
func checkJSON(body []byte) error {
	var depth, objects int
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{':
			objects++
			fallthrough
		case '[':
			if depth++; depth > maxNesting {
				return errJSONNesting
			}
		case '}', ']':
			depth--
		case '"':
			start := i + 1
			for i = start; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
			if i == start && isKey(body[i:]) {
				return errJSONKey
			}
		}
	}
	if !json.Valid(body) {
		return errJSON
	}
	if objects*objectBytes > len(body)*jsonWeight+jsonSlack {
		return fmt.Errorf("json: %d objects in %d bytes, more than %d bytes of memory for each byte", objects, len(body), jsonWeight)
	}
	return nil
}

// isKey says whether the string that ends with rest's first byte is the name of a field.
func isKey(rest []byte) bool {
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case ' ', '\t', '\r', '\n':
		default:
			return rest[i] == ':'
		}
	}
	return false
}

func tracesFromJSON(body []byte) ([]byte, error) {
	r := ptraceotlp.NewExportRequest()
	if err := r.UnmarshalJSON(body); err != nil {
		return nil, err
	}
	return r.MarshalProto()
}

func metricsFromJSON(body []byte) ([]byte, error) {
	r := pmetricotlp.NewExportRequest()
	if err := r.UnmarshalJSON(body); err != nil {
		return nil, err
	}
	return r.MarshalProto()
}

func logsFromJSON(body []byte) ([]byte, error) {
	r := plogotlp.NewExportRequest()
	if err := r.UnmarshalJSON(body); err != nil {
		return nil, err
	}
	return r.MarshalProto()
}
