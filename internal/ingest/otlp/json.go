package otlp

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// jsonWeight is how many bytes pdata's structs and the protobuf made of them take at the least for each byte of JSON:
// measured with spans, points and records as agents send them. What is denser is seen by checkJSON and charged besides.
const jsonWeight = 3

// What a push can be made of to weigh the most: elements of arrays that say nothing ({} and null become a struct each),
// and objects that are a field's value, most of which are part of the struct around them. jsonDensity is how many bytes
// by this reckoning a byte may weigh; arrays of short numbers, {"intValue":1}, come to 20. jsonSlack lets small pushes
// be as dense as they like.
const (
	elementBytes = 288
	valueBytes   = 64
	jsonDensity  = 22
	jsonSlack    = 64 << 10
)

var (
	errJSON        = errors.New("json: not well formed")
	errJSONNesting = errors.New("json: nested over 64")
	errJSONKey     = errors.New("json: a field without a name")
)

// checkJSON refuses what pdata's reader must not be given: what is not JSON or has something after its end (the reader
// stops early), deep nesting (it recurses), fields without a name (it takes them for the end of the object and silently
// skips what follows), and a mass of next to nothing, which becomes structs of a hundred times its size. It returns how
// many bytes of structs body is made into.
func checkJSON(body []byte) (weight int, err error) {
	var depth int
	var before byte // the last byte that means something
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{', 'n':
			weight += elementBytes
			if before == ':' {
				weight += valueBytes - elementBytes
			}
		case '"':
			start := i + 1
			for i = start; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
			if i == start && isKey(body[i:]) {
				return 0, errJSONKey
			}
		}
		switch c {
		case '{', '[':
			if depth++; depth > maxNesting {
				return 0, errJSONNesting
			}
		case '}', ']':
			depth--
		}
		before = c
	}
	if !json.Valid(body) {
		return 0, errJSON
	}
	if limit := jsonDensity*len(body) + jsonSlack; weight > limit {
		return 0, fmt.Errorf("json: %d bytes of empty objects that would take %d bytes of memory, over %d", len(body), weight, limit)
	}
	return weight, nil
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
