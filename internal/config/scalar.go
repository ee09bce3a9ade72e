package config

import (
	"math"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"
)

// text returns scalar n with its variables expanded.
func (d *decoder) text(n *yaml.Node, path, want string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n, path, "wants %s, not %s", want, kindOf(n))
		return "", false
	}
	s, used, err := expand(n.Value, d.lookup)
	if used {
		d.env[path] = true
	}
	if err != nil {
		d.fault(n, path, "%v", err)
		return "", false
	}
	return s, true
}

// not says what a value is instead of what it should be, unless that must not be shown.
func (d *decoder) not(path string, n *yaml.Node) string {
	n = follow(n)
	if d.env[path] {
		return ", not what the environment variable holds"
	}
	if len(n.Value) > 40 {
		return ""
	}
	return ", not " + strconv.Quote(n.Value)
}

// number returns the text of a number or truth value, which may stand in quotes only if a variable is in it.
func (d *decoder) number(n *yaml.Node, path, want string) (string, bool) {
	s, ok := d.text(n, path, want)
	if ok && !d.env[path] && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		d.fault(n, path, "wants %s without quotes", want)
		return "", false
	}
	return s, ok
}

// scalar decodes the plain kinds.
func (d *decoder) scalar(n *yaml.Node, out reflect.Value, path string) {
	switch out.Kind() {
	case reflect.String:
		if s, ok := d.text(n, path, "a text"); ok {
			out.SetString(s)
		}
	case reflect.Bool:
		const want = "true or false"
		if s, ok := d.number(n, path, want); ok {
			switch strings.ToLower(s) {
			case "true":
				out.SetBool(true)
			case "false":
				out.SetBool(false)
			default:
				d.fault(n, path, "wants %s%s", want, d.not(path, n))
			}
		}
	case reflect.Int, reflect.Uint64:
		const want = "a whole number of 0 or more"
		if s, ok := d.number(n, path, want); ok {
			i, err := strconv.ParseUint(s, 10, 63)
			if err != nil {
				d.fault(n, path, "wants %s%s", want, d.not(path, n))
			} else if out.CanInt() {
				out.SetInt(int64(i))
			} else {
				out.SetUint(i)
			}
		}
	case reflect.Float64:
		const want = "a number of 0 or more"
		if s, ok := d.number(n, path, want); ok {
			f, err := strconv.ParseFloat(s, 64)
			if err != nil || f < 0 || math.IsNaN(f) || math.IsInf(f, 0) {
				d.fault(n, path, "wants %s%s", want, d.not(path, n))
				return
			}
			out.SetFloat(f)
		}
	default:
		panic("BUG: no decoder for " + out.Type().String())
	}
}

// special decodes the types that have a notation of their own and says whether out is one.
func (d *decoder) special(n *yaml.Node, out reflect.Value, path string) bool {
	switch p := out.Addr().Interface().(type) {
	case *Bytes:
		const want = "a size such as 16MiB, 512KiB or 1GB"
		if s, ok := d.text(n, path, want); ok {
			b, err := ParseBytes(s)
			if err != nil {
				d.fault(n, path, "wants %s%s", want, d.not(path, n))
			}
			*p = b
		}
	case *Duration:
		const want = "a duration such as 30s, 5m or 0"
		if s, ok := d.text(n, path, want); ok {
			t, err := ParseDuration(s)
			if err != nil {
				d.fault(n, path, "wants %s%s", want, d.not(path, n))
			}
			*p = t
		}
	case *Listener:
		if n.Kind == yaml.MappingNode {
			return false
		}
		p.Address, _ = d.text(n, path, "an address or {address, environment, client}")
	case *promconfig.URL:
		if s, ok := d.text(n, path, "a URL"); ok {
			u, err := url.Parse(s)
			if err != nil {
				// The error quotes the URL, and the URL may hold a password.
				d.fault(n, path, "not a URL; write http://host:port")
				return true
			}
			p.URL = u
		}
	case *promconfig.TLSVersion:
		if s, ok := d.text(n, path, "a TLS version"); ok {
			v, known := promconfig.TLSVersions[s]
			if !known {
				d.fault(n, path, "wants TLS12 or TLS13%s", d.not(path, n))
			}
			*p = v
		}
	case *relabel.Regexp:
		if s, ok := d.text(n, path, "a regular expression"); ok {
			re, err := relabel.NewRegexp(s)
			if err != nil {
				d.fault(n, path, "not a regular expression (RE2)%s", d.not(path, n))
				return true
			}
			*p = re
		}
	case *relabel.Action:
		if s, ok := d.text(n, path, "an action"); ok {
			*p = relabel.Action(strings.ToLower(s))
			switch *p {
			case relabel.Replace, relabel.Keep, relabel.Drop, relabel.KeepEqual, relabel.DropEqual, relabel.HashMod,
				relabel.LabelMap, relabel.LabelDrop, relabel.LabelKeep, relabel.Lowercase, relabel.Uppercase:
			default:
				d.fault(n, path, "wants a relabelling action such as replace, keep, drop or labeldrop%s", d.not(path, n))
			}
		}
	default:
		return false
	}
	return true
}
