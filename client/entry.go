package client

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Entry describes a file, a directory or a symbolic link. What only those who
// may read a file are told (SHA256, Target, Meta) is empty for others.
type Entry struct {
	Path     string            `json:"path"`              // with a leading slash, without a trailing one; "/" is the root
	Name     string            `json:"name"`              // its last segment
	Kind     string            `json:"kind"`              // "file", "directory" or "symlink"
	Size     int64             `json:"size"`              // bytes
	Modified time.Time         `json:"modified,omitzero"` // to the microsecond
	Created  time.Time         `json:"created,omitzero"`  // to the microsecond; List only
	Mode     uint32            `json:"-"`                 // POSIX permission bits, 0 where none are kept; in JSON octal digits: "mode":"0644"
	ETag     string            `json:"etag,omitempty"`    // opaque, without quotes; changes with every version
	Version  uint64            `json:"version,omitempty"` // 1 for a new file; of files and symbolic links, Stat and Get only
	Type     string            `json:"type,omitempty"`    // content type
	SHA256   string            `json:"sha256,omitempty"`  // hex, of the content; "" where it is not told
	Target   string            `json:"target,omitempty"`  // of a symbolic link
	Meta     map[string]string `json:"meta,omitempty"`    // user metadata, keys in lower case
}

// IsDir reports whether the entry is a directory.
func (e *Entry) IsDir() bool { return e.Kind == "directory" }

// IsSymlink reports whether the entry is a symbolic link.
func (e *Entry) IsSymlink() bool { return e.Kind == "symlink" }

// entryFields is an Entry without its methods.
type entryFields Entry

// entryJSON is an Entry as it is written in JSON.
type entryJSON struct {
	entryFields
	Mode string `json:"mode,omitempty"`
}

// MarshalJSON writes the mode as people know it.
func (e Entry) MarshalJSON() ([]byte, error) {
	return json.Marshal(entryJSON{entryFields(e), FormatMode(e.Mode)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (e *Entry) UnmarshalJSON(b []byte) error {
	var v entryJSON
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*e = Entry(v.entryFields)
	var err error
	e.Mode, err = parseMode(v.Mode)
	return err
}

// FormatMode returns permission bits as four octal digits, "" for 0.
func FormatMode(mode uint32) string {
	if mode == 0 {
		return ""
	}
	return fmt.Sprintf("%04o", mode)
}

// parseMode reads permission bits in octal; 0 where there are none.
func parseMode(s string) (uint32, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil {
		return 0, fmt.Errorf("the mode %q is malformed", s)
	}
	return uint32(n), nil
}

// Stored is the server's confirmation that a file is on stable storage.
type Stored struct {
	Path    string `json:"path"`    // with a leading slash
	Size    int64  `json:"size"`    // bytes
	SHA256  string `json:"sha256"`  // hex
	ETag    string `json:"etag"`    // of the new version, without quotes
	Version uint64 `json:"version"` // 1 for a new file
	Created bool   `json:"created"` // there was none before
}
