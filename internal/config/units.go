package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Bytes is a size, written 16MiB, 512KiB, 1GB or as a plain number.
type Bytes int64

// units are the suffixes of Bytes, in the order in which String prefers them.
var units = []struct {
	suffix string
	size   int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// ParseBytes reads a size: a whole number, then KiB, MiB, GiB, TiB (1024), KB, MB, GB, TB (1000), B or nothing.
func ParseBytes(s string) (Bytes, error) {
	digits, size := s, int64(1)
	for _, u := range units {
		if d, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, size = d, u.size
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && n > uint64(math.MaxInt64/size):
		return 0, errors.New("size out of range")
	case err != nil:
		return 0, errors.New("not a size")
	}
	return Bytes(int64(n) * size), nil
}

// String is b as the file would have it, exact.
func (b Bytes) String() string {
	for _, u := range units {
		if u.size > 1 && b >= Bytes(u.size) && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText makes YAML and JSON show b as the file would have it.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// MarshalYAML shows b as the file would have it.
func (b Bytes) MarshalYAML() (any, error) { return b.String(), nil }

// Duration is a time, written 30s, 5m, 1h30m or 0.
type Duration time.Duration

// ParseDuration reads a duration as Go (1.5h, 250ms) or as Prometheus (1d12h) writes it. It is not negative.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		p, perr := model.ParseDuration(s)
		if perr != nil {
			return 0, errors.New("not a duration")
		}
		d = time.Duration(p)
	}
	if d < 0 {
		return 0, errors.New("negative duration")
	}
	return Duration(d), nil
}

// String is d as the file would have it: 5m, not 5m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText makes YAML and JSON show d as the file would have it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// MarshalYAML shows d as the file would have it.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }
