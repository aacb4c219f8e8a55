package crash

import (
	"bytes"
	"math/rand/v2"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

// TestKillWhileTheStarterKeyRotates kills the server at a random moment of
// rotate-starter-key. Exactly one of the two keys opens the root after it, the
// new one if the command said that it is in force, and everything is there.
func TestKillWhileTheStarterKeyRotates(t *testing.T) {
	const rounds = 8
	s := kit.New(t)
	body := kit.Pattern(1, 50_000)
	if _, err := s.Client().Put(t.Context(), "/f", bytes.NewReader(body), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`(?m)^\s*([A-Za-z0-9+/]{43}=)\s*$`)
	rotated := 0
	for range rounds {
		type result struct {
			out string
			err error
		}
		done := make(chan result, 1)
		go func() {
			out, err := s.TryCtl("rotate-starter-key")
			done <- result{out, err}
		}()
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		s.Kill()
		r := <-done
		found := key.FindStringSubmatch(r.out)
		err := s.TryStart()
		if err == nil {
			if r.err == nil {
				t.Fatalf("the old key opens the root although the new one is in force:\n%s", r.out)
			}
		} else {
			if found == nil {
				t.Fatalf("no key opens the root: %v\n%s", err, r.out)
			}
			rotated++
			if err := os.WriteFile(s.KeyFile, []byte(found[1]+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s.Start()
		}
		if got, err := s.Client().ReadFile(t.Context(), "/f"); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	t.Logf("%d of %d rotations came into force", rotated, rounds)
}
