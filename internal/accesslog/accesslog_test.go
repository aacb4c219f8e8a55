package accesslog

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// options gives the records of a handler the time of an entry, in UTC, as the
// server's own handlers do.
func options(e *Entry) *slog.HandlerOptions {
	return &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			a.Value = slog.StringValue(e.Time.UTC().Format(time.RFC3339Nano))
		}
		return a
	}}
}

func randomEntry() *Entry {
	text := func(chars string) string {
		b := make([]byte, rand.IntN(12))
		for i := range b {
			b[i] = chars[rand.IntN(len(chars))]
		}
		return string(b)
	}
	const usual, any = "abcXYZ019-_.:[]/%@", "ab=c 1\"\t"
	e := &Entry{Time: time.Unix(rand.Int64N(1<<33), rand.Int64N(1e9)), ID: text(usual), Route: text(usual), Method: text(usual),
		Status: rand.IntN(1000), Took: time.Duration(rand.Int64N(1 << rand.IntN(62))), In: rand.Int64(), Out: rand.Int64N(9),
		From: text(usual), FS: text(usual), User: text(usual), Object: text(usual), Problem: text(usual), Trace: text(usual)}
	if rand.IntN(2) == 0 {
		e.Level = slog.LevelDebug
	}
	if rand.IntN(4) == 0 {
		e.ID = text(any)
	}
	return e
}

func TestLinesAreThoseOfSlog(t *testing.T) {
	for range 5000 {
		e := randomEntry()
		var want bytes.Buffer
		To(slog.New(slog.NewTextHandler(&want, options(e)))).Log(*e)
		if got := string(e.appendText(nil)); got != want.String() {
			t.Fatalf("\n%sslog: %s", got, want.String())
		}
		if !plain(e.ID, false) {
			continue
		}
		want.Reset()
		To(slog.New(slog.NewJSONHandler(&want, options(e)))).Log(*e)
		if got := string(e.appendJSON(nil)); got != want.String() {
			t.Fatalf("\n%sslog: %s", got, want.String())
		}
	}
}

func TestNoValueBreaksALine(t *testing.T) {
	for c := range 256 {
		e := &Entry{ID: "a" + string([]byte{byte(c)}) + "b", Problem: string([]byte{byte(c)})}
		text, line := string(e.appendText(nil)), e.appendJSON(nil)
		if strings.Count(text, "\n") != 1 || bytes.Count(line, []byte("\n")) != 1 || !json.Valid(line) {
			t.Errorf("%q\n%s", text, line)
		}
	}
}

// slowly is a log that is read while it is written.
type slowly struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *slowly) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *slowly) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func TestLinesAreWrittenInOrderAndByThemselves(t *testing.T) {
	var out slowly
	w := NewWriter(&out, slog.LevelInfo, false)
	if w.Enabled(slog.LevelDebug) || !w.Enabled(slog.LevelWarn) {
		t.Error("levels")
	}
	w.Log(Entry{ID: "first"})
	if out.String() != "" {
		t.Error("a line was not collected")
	}
	w.Write([]byte("second\n"))
	w.Log(Entry{ID: "third"})
	for end := time.Now().Add(10 * time.Second); !strings.Contains(out.String(), "third") && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	w.Log(Entry{ID: "fourth"})
	w.Flush()
	text := out.String()
	for last, id := range []string{"first", "second", "third", "fourth"} {
		if strings.Count(text, "\n") != 4 || !strings.Contains(strings.Split(text, "\n")[last], id) {
			t.Fatal(text)
		}
	}
}

func TestManyLinesAtOnceAreAllWritten(t *testing.T) {
	var out slowly
	w := NewWriter(&out, slog.LevelInfo, true)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				w.Log(Entry{ID: "x"})
			}
		})
	}
	wg.Wait()
	w.Flush()
	if n := strings.Count(out.String(), "\"id\":\"x\""); n != 8000 {
		t.Error(n)
	}
	if cap(w.lines) != bufferSize {
		t.Error("the buffer grew to", cap(w.lines))
	}
}
