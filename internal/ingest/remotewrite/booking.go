package remotewrite

import (
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// booking books what a push builds, before it is built. Once there was no room it stays refused: tables take nothing more
// in, and whoever fills them looks at err where that is convenient.
type booking struct {
	charge ingest.Charge
	err    error
}

func (k *booking) take(n int) bool {
	if k.err == nil {
		k.err = k.charge.Take(n)
	}
	return k.err == nil
}

// series returns ss with room for n more series for r to judge, and books their part of the index.
func (k *booking) series(r *ingest.Reducer, ss []ingest.Series, n int) ([]ingest.Series, error) {
	ss, overloaded := r.Room(ss, n)
	if overloaded != nil {
		k.err = overloaded
	} else {
		k.take(indexEntry * n)
	}
	return ss, k.err
}

// room returns s with room for n more elements, or s as it is and false. What s had stays booked: the collector may come late.
func room[T any](k *booking, s []T, n int) ([]T, bool) {
	if cap(s)-len(s) >= n {
		return s, k.err == nil
	}
	size := max(len(s)+n, 2*cap(s))
	if !k.take(size * int(unsafe.Sizeof(s[:1][0]))) {
		return s, false
	}
	return append(make([]T, 0, size), s...), true
}
