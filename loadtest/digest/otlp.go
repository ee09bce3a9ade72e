package digest

import (
	"github.com/cespare/xxhash/v2"

	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// signal is what differs between the three requests of OTLP, which are all resources of scopes of something.
type signal struct {
	// each walks what stands in field 2 of a scope: a span, a log record, a metric.
	each func(s *Sum, msg []byte, context uint64, every uint64) error
}

// Traces walks an ExportTraceServiceRequest.
func Traces(raw []byte, every uint64) (Sum, error) {
	return signal{func(s *Sum, msg []byte, context, every uint64) error {
		return s.record(msg, context, every, 7, 1, 2, 5, 7, 8) // by start; ids, name and times are its identity
	}}.walk(raw, every)
}

// Logs walks an ExportLogsServiceRequest.
func Logs(raw []byte, every uint64) (Sum, error) {
	return signal{func(s *Sum, msg []byte, context, every uint64) error {
		return s.record(msg, context, every, 1, 1, 5)
	}}.walk(raw, every)
}

// Metrics walks an ExportMetricsServiceRequest.
func Metrics(raw []byte, every uint64) (Sum, error) { return signal{(*Sum).metric}.walk(raw, every) }

func (sig signal) walk(raw []byte, every uint64) (s Sum, err error) {
	err = fields(raw, func(f *wire.Field) error {
		if f.Num != 1 {
			return nil
		}
		resource, err := head(f.Data)
		if err != nil {
			return err
		}
		return fields(f.Data, func(f *wire.Field) error {
			if f.Num != 2 {
				return nil
			}
			scope, err := head(f.Data)
			if err != nil {
				return err
			}
			return fields(f.Data, func(f *wire.Field) error {
				if f.Num != 2 {
					return nil
				}
				return sig.each(&s, f.Data, mix(resource, scope), every)
			})
		})
	})
	return s, err
}

// head is the hash of the resource or scope in field 1, and of the schema's URL in field 3, of what surrounds items.
func head(msg []byte) (sum uint64, err error) {
	err = fields(msg, func(f *wire.Field) error {
		switch {
		case f.Num == 1:
			m, err := message(f.Data, 0)
			if err != nil {
				return err
			}
			sum += m
		case f.Num == 3 && len(f.Data) > 0:
			sum += mix(3, xxhash.Sum64(f.Data))
		}
		return nil
	})
	return sum, err
}

// record adds a span or log record. Its time stands in field time, and what it is known by in fields identity.
func (s *Sum) record(msg []byte, context, every uint64, time int32, identity ...int32) error {
	var ns, id uint64
	err := fields(msg, func(f *wire.Field) error {
		if f.Num == time {
			ns = f.Int
		}
		for _, num := range identity {
			if f.Num == num && f.Type == wire.Bytes {
				id += mix(uint64(num), xxhash.Sum64(f.Data))
			} else if f.Num == num {
				id += mix(uint64(num), f.Int)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !Selected(int64(ns/1e6), every) {
		s.Items++
		return nil
	}
	sum, err := message(msg, 0)
	if err != nil {
		return err
	}
	s.item(mix(context, sum), id)
	return nil
}

// metric adds the points of a metric. What stands around them (name, unit, kind, temporality) is part of each.
func (s *Sum) metric(msg []byte, context, every uint64) error {
	data := func(num int32) bool { return num == 5 || num == 7 || num == 9 || num == 10 || num == 11 }
	var around uint64
	err := fields(msg, func(f *wire.Field) error {
		if data(f.Num) {
			kind, err := message(f.Data, 1) // all but its points
			around += mix(uint64(f.Num), kind)
			return err
		}
		if f.Type == wire.Bytes && len(f.Data) > 0 {
			around += mix(uint64(f.Num), xxhash.Sum64(f.Data))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return fields(msg, func(f *wire.Field) error {
		if !data(f.Num) {
			return nil
		}
		return fields(f.Data, func(f *wire.Field) error {
			if f.Num != 1 {
				return nil
			}
			return s.record(f.Data, mix(context, around), every, 3, 3, 4, 5, 6)
		})
	})
}

// fields calls do for each field of msg.
func fields(msg []byte, do func(*wire.Field) error) (err error) {
	var f wire.Field
	for len(msg) > 0 {
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		if err = do(&f); err != nil {
			return err
		}
	}
	return nil
}
