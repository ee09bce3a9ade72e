package gateway

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that no test, and so no gateway, leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
