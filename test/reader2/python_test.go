// Package reader2 has tests that open the same sealed files with the Go package
// seal and with contrib/recover.py, which was written from docs/sealed-file.md
// alone: where the two differ, one of them or the document is wrong.
package reader2

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
)

const recoverPy = "../../contrib/recover.py"

// python is the interpreter for which the distribution installs cryptography.
func python(t testing.TB) string {
	t.Helper()
	name := interpreter()
	if name == "" {
		t.Fatal("no Python 3 with the package cryptography: run scripts/deps test")
	}
	return name
}

var interpreter = sync.OnceValue(func() string {
	for _, name := range []string{os.Getenv("EFS_TEST_PYTHON"), "/usr/bin/python3", "python3"} {
		if name != "" && exec.Command(name, "-c", "import cryptography").Run() == nil {
			return name
		}
	}
	return ""
})

// given is a sealed file and what a reader has to open it, as in a test vector.
type given struct {
	Sealed     []byte            `json:"sealed"`
	Keys       map[string]string `json:"keys,omitempty"` // id → key, both hex
	Passphrase string            `json:"passphrase,omitempty"`
	Private    string            `json:"private_key,omitempty"`
	FS         string            `json:"fs,omitempty"` // hex; any where empty
	Content    string            `json:"content,omitempty"`
}

// answer is what a reader makes of a sealed file.
type answer struct {
	Kind    string         `json:"kind"` // of the error; empty: it opens
	Text    string         `json:"text"` // of the error, for people
	Length  int            `json:"length"`
	SHA256  string         `json:"sha256"` // of the plaintext that was given out
	Trailer map[string]any `json:"trailer"`
}

// pyReader is a running contrib/recover.py.
type pyReader struct {
	to   io.WriteCloser
	from *json.Decoder
}

func startPython(t testing.TB) *pyReader {
	t.Helper()
	cmd := exec.Command(python(t), "driver.py", "../../contrib")
	cmd.Stderr = os.Stderr
	to, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		to.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the Python reader: %v", err)
		}
	})
	return &pyReader{to, json.NewDecoder(bufio.NewReader(from))}
}

func (p *pyReader) open(t testing.TB, g *given) answer {
	t.Helper()
	var a answer
	if err := json.NewEncoder(p.to).Encode(g); err != nil {
		t.Fatal(err)
	}
	if err := p.from.Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}
