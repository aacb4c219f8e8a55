package audit

import (
	"bytes"
	"testing"
)

// A log that a newer release has written is not gone on with, and its lines
// are said to be newer.
func TestWhatANewerReleaseWroteIsSaidToBeNewer(t *testing.T) {
	w := newWorld(t)
	w.store(2)
	must(t, w.log.Close())
	newer := bytes.Replace(w.secret(secretState), []byte(`"format":1`), []byte(`"format":2`), 1)
	must(t, w.box.Replace(secretState, newer))
	_, err := Open(w.box, w.o)
	if err == nil {
		t.Fatal("a state of a newer format is gone on with")
	}
	contains(t, err.Error(), "written by a newer EFS, start that one")

	line := split(w.text1())[0]
	if _, err := parse(line); err != nil {
		t.Fatal(err)
	}
	_, err = parse(bytes.Replace(line, []byte(`"v":1`), []byte(`"v":2`), 1))
	if err == nil {
		t.Fatal("a line of a newer format is taken")
	}
	contains(t, err.Error(), "a newer EFS wrote it")
}
