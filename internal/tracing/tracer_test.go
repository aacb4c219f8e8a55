package tracing_test

import (
	"errors"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/tracing"
)

// TestOffCostsNothing: what is not traced is not even allocated.
func TestOffCostsNothing(t *testing.T) {
	var off *tracing.Tracer
	ctx, err := t.Context(), errors.New("any")
	n := testing.AllocsPerRun(100, func() {
		c, request := off.Request(ctx, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", time.Time{})
		c, step := off.Step(c, "step")
		_, call := off.Call(c, "call")
		call.Text("key", "value")
		call.Number("key", 1)
		call.Failed("kind")
		call.End()
		step.EndWith(err)
		if request.On() || request.TraceID() != "" || c != ctx {
			t.Error("something is traced")
		}
		request.EndWith(nil)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
