package loki

import (
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// grow returns s with room for n more elements. What that takes is booked before it is taken, and what s had stays booked
// besides: labels may go on pointing into it.
func grow[T any](s []T, n int, c ingest.Charge) ([]T, error) {
	if cap(s)-len(s) >= n {
		return s, nil
	}
	size := max(len(s)+n, 2*cap(s), 16)
	if err := c.Take(size * int(unsafe.Sizeof(s[:1][0]))); err != nil {
		return s, err
	}
	return append(make([]T, 0, size), s...), nil
}
