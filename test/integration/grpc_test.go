package integration

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const exportLogs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

// quickBackoff finds a gateway that was started again soon.
var quickBackoff = backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.2, MaxDelay: 100 * time.Millisecond}

// exportRaw calls the logs service with a message that is encoded already, so that a test can send the same large
// message many times without making it again.
func exportRaw(ctx context.Context, conn *grpc.ClientConn, message []byte) error {
	var answer []byte
	return conn.Invoke(ctx, exportLogs, &message, &answer, grpc.ForceCodec(rawCodec{}))
}

// rawCodec passes *[]byte through.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not a message of the raw codec", v)
	}
	return *b, nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is not a message of the raw codec", v)
	}
	*b = append([]byte(nil), data...)
	return nil
}
