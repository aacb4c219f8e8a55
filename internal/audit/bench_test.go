package audit

import (
	"log/slog"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/starter"
)

// BenchmarkRecord is what one event costs, its line and its share of writing
// included.
func BenchmarkRecord(b *testing.B) {
	_, key, err := starter.Generate()
	must(b, err)
	box, err := starter.CreateBox(b.TempDir(), key, nil)
	must(b, err)
	defer box.Close()
	log, err := Open(box, Options{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	must(b, err)
	defer log.Close()
	e := Event{Time: time.Now(), Op: "file.read", User: "app1", FS: "user-data", From: "127.0.0.1:54321", Method: "GET", Object: efs.NewTimeID(),
		Name: make([]byte, 90), Session: "vWmYH6cAGnIeRnNN", Request: "0123456789ab-12345"}
	b.ReportAllocs()
	for b.Loop() {
		log.Record(e)
	}
}
