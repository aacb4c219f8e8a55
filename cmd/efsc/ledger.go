package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
)

// ledgerName is a file beside the copies that says what they were made of, one
// JSON object a line, so that later sessions use them, too. Lines are only
// added, by any number of sessions at once; of one path the last one holds.
const ledgerName = ".efsc-copies"

// copied is a line of the ledger. Size and Modified, in nanoseconds since 1970,
// tell whether the copy is still as it was made.
type copied struct {
	Path     string `json:"path"`
	Source   string `json:"source"`
	ETag     string `json:"etag"`
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"`
}

// maxLedger is how long a ledger may become, in bytes, before it is begun anew:
// copies are made again then.
const maxLedger = 16 << 20

// readLedger returns what earlier sessions of this user made. What cannot be
// read, or is somebody else's, counts for nothing: copies are made again then.
func readLedger(root *os.Root) map[string]copied {
	made := map[string]copied{}
	fi, err := root.Lstat(ledgerName)
	if err != nil || !fi.Mode().IsRegular() || !ownedByUs(fi) {
		return made
	}
	if fi.Size() > maxLedger {
		_ = root.Remove(ledgerName) // if it stays, it is as good as none
		return made
	}
	f, err := root.Open(ledgerName)
	if err != nil {
		return made
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 2*maxLedger))
	if err != nil {
		return made
	}
	for line := range bytes.Lines(b) {
		var c copied
		if json.Unmarshal(line, &c) == nil {
			made[c.Path] = c
		}
	}
	return made
}

// appendLedger adds a line in one write; not to a file of somebody else's, who
// would learn names from it.
func appendLedger(root *os.Root, c copied) error {
	if fi, err := root.Lstat(ledgerName); err == nil && !ownedByUs(fi) {
		return os.ErrPermission
	}
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	f, err := root.OpenFile(ledgerName, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		_ = f.Close() // the write has failed already
		return err
	}
	return f.Close()
}
