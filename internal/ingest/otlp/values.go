package otlp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
)

// treeWeight is how many bytes the structs and the JSON made of a value of arrays and maps take for each of its bytes,
// at the most: a map's entry of five bytes becomes one of some 200.
const treeWeight = 48

// value is what rules see of at, byte for byte what pdata's Value.AsString returns. Strings are where they stand in the
// push; the rest is made in a.text, and good until reset.
func (a *attributes) value(at *attribute) (string, error) {
	switch at.kind {
	case isString:
		return textOf(at.data), nil
	case isBool:
		return strconv.FormatBool(at.bits != 0), nil
	case isInt, isDouble:
		if err := a.room(maxNumber); err != nil {
			return "", err
		}
		start := len(a.text)
		if at.kind == isInt {
			a.text = strconv.AppendInt(a.text, int64(at.bits), 10)
		} else {
			a.text = appendDouble(a.text, math.Float64frombits(at.bits))
		}
		return textOf(a.text[start:]), nil
	case isBytes:
		if err := a.room(base64.StdEncoding.EncodedLen(len(at.data))); err != nil {
			return "", err
		}
		start := len(a.text)
		a.text = base64.StdEncoding.AppendEncode(a.text, at.data)
		return textOf(a.text[start:]), nil
	case isArray, isMap:
		return a.tree(at)
	}
	return "", nil
}

// maxNumber is the length of the longest number as text: -2.2250738585072014e-308, or 21 digits with a sign.
const maxNumber = 32

// appendDouble appends d as JSON writes numbers, and what JSON cannot write as pdata does.
//
// Source: ECMA-262, Number::toString, which encoding/json follows
func appendDouble(dst []byte, d float64) []byte {
	switch abs := math.Abs(d); {
	case math.IsNaN(d):
		return append(dst, "NaN"...)
	case math.IsInf(d, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(d, -1):
		return append(dst, "-Infinity"...)
	case abs != 0 && abs < 1e-6 || abs >= 1e21:
		dst = strconv.AppendFloat(dst, d, 'e', -1, 64)
		// e-09 is e-9 there.
		if n := len(dst); dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
			dst[n-2] = dst[n-1]
			dst = dst[:n-1]
		}
		return dst
	}
	return strconv.AppendFloat(dst, d, 'f', -1, 64)
}

// tree is the JSON of an array or a map: empty if there is a number in it that JSON cannot write. It is the slow way, for
// values that hardly any rule is about.
func (a *attributes) tree(at *attribute) (string, error) {
	weight := treeWeight * len(at.encoded)
	if err := a.lender.Charge.Take(weight); err != nil {
		return "", err
	}
	defer func() { _ = a.lender.Charge.Take(-weight) }() // giving back never fails
	v, err := at.raw()
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return "", nil
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if err := a.room(len(text)); err != nil {
		return "", err
	}
	start := len(a.text)
	a.text = append(a.text, text...)
	return textOf(a.text[start:]), nil
}

// raw is the value as encoding/json takes it. How deep it goes the walk has bounded.
func (at *attribute) raw() (any, error) {
	switch at.kind {
	case isString:
		return textOf(at.data), nil
	case isBool:
		return at.bits != 0, nil
	case isInt:
		return int64(at.bits), nil
	case isDouble:
		return math.Float64frombits(at.bits), nil
	case isBytes:
		return append([]byte(nil), at.data...), nil // none at all is null
	case isArray:
		list := []any{}
		err := each(at.data, 1, func(value []byte) error {
			var e attribute
			if err := e.readValue(value); err != nil {
				return err
			}
			v, err := e.raw()
			list = append(list, v)
			return err
		})
		return list, err
	case isMap:
		m := map[string]any{}
		err := each(at.data, 1, func(kv []byte) error {
			var e attribute
			if err := e.read(kv); err != nil {
				return err
			}
			v, err := e.raw()
			m[textOf(e.name)] = v // the last one counts
			return err
		})
		return m, err
	}
	return nil, nil
}
