package client

import (
	"time"
)

// Entry describes a file or a directory.
type Entry struct {
	Path     string            `json:"path"`              // with a leading slash, without a trailing one; "/" is the root
	Name     string            `json:"name"`              // its last segment
	Kind     string            `json:"kind"`              // "file", "directory" or "symlink"
	Size     int64             `json:"size"`              // bytes
	Modified time.Time         `json:"modified,omitzero"` // to the second from Stat and Get, to the microsecond from List
	ETag     string            `json:"etag,omitempty"`    // opaque, without quotes; changes with every version
	Type     string            `json:"type,omitempty"`    // content type
	SHA256   string            `json:"sha256,omitempty"`  // hex, of the content; "" where it is not told
	Meta     map[string]string `json:"meta,omitempty"`    // user metadata, keys in lower case; Stat and Get only
}

// IsDir reports whether the entry is a directory.
func (e *Entry) IsDir() bool { return e.Kind == "directory" }

// Stored is the server's confirmation that a file is on stable storage.
type Stored struct {
	Path    string `json:"path"`    // with a leading slash
	Size    int64  `json:"size"`    // bytes
	SHA256  string `json:"sha256"`  // hex
	ETag    string `json:"etag"`    // of the new version, without quotes
	Version uint64 `json:"version"` // 1 for a new file
	Created bool   `json:"created"` // there was none before
}
