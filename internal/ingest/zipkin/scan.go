package zipkin

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
)

// maxNesting bounds values inside values.
const maxNesting = 64

// What a push can be made of to weigh the most: objects, each of which becomes a struct or two, and strings, most of
// which become a tag. jsonDensity is how many bytes by this reckoning a byte may weigh. densitySlack lets small pushes be
// as dense as they like.
const (
	objectBytes  = 300
	stringBytes  = 60
	jsonDensity  = 24
	densitySlack = 64 << 10
)

var (
	errJSON        = errors.New("json: not well formed")
	errJSONNesting = errors.New("json: nested over 64")
	errNotList     = errors.New("json: not a list")
)

// tooDense is the error of a push of n bytes that would take weight bytes of memory, if that is out of all proportion.
func tooDense(n, weight, density int) error {
	if limit := density*n + densitySlack; weight > limit {
		return fmt.Errorf("%d bytes that would take %d bytes of memory, over %d", n, weight, limit)
	}
	return nil
}

// checkList refuses JSON that encoding/json must not be given: what is nested deep, and a mass of next to nothing.
// It says whether body is a list with anything in it; no body at all is an empty one.
func checkList(body []byte) (ok bool, err error) {
	var s scan
	if !s.walk(body) {
		return false, errJSONNesting
	}
	switch {
	case s.first == 0:
		return false, nil
	case !json.Valid(body):
		return false, errJSON
	case s.first != '[':
		return false, errNotList
	}
	return s.weight > 0 || s.values > 0, tooDense(len(body), s.weight, jsonDensity)
}

// nestedWell says whether body can be given to encoding/json.
func nestedWell(body []byte) bool {
	var s scan
	return s.walk(body)
}

// scan is what there is in a JSON document. It says nothing of documents that are not well formed.
type scan struct {
	first  byte // that means something
	weight int
	values int // at depth 1, other than objects and strings
}

// walk returns false where body is nested too deep.
func (s *scan) walk(body []byte) bool {
	depth, strings := 0, 0
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{', '[':
			if c == '{' {
				s.weight += objectBytes
			} else if depth > 0 {
				s.values++
			}
			if depth++; depth > maxNesting {
				return false
			}
		case '}', ']':
			depth--
		case '"':
			strings++
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		case 'n':
			s.weight += objectBytes // null: as an element it becomes a struct like any other
			fallthrough
		default:
			if depth == 1 {
				s.values++
			}
		}
		if s.first == 0 {
			s.first = c
		}
	}
	s.weight += strings * stringBytes
	return true
}

// elements are the elements of a list that checkList has let pass.
func elements(list []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		depth, start := 0, 0
		for i := 0; i < len(list); i++ {
			switch list[i] {
			case '{', '[':
				if depth++; depth == 1 {
					start = i + 1
				}
			case '}':
				depth--
			case ']':
				if depth--; depth == 0 {
					yield(list[start:i])
					return
				}
			case ',':
				if depth == 1 {
					if !yield(list[start:i]) {
						return
					}
					start = i + 1
				}
			case '"':
				for i++; list[i] != '"'; i++ {
					if list[i] == '\\' {
						i++
					}
				}
			}
		}
	}
}
