package audit

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/efs-project/efs"
)

// segment is a file of the log. Its name tells its first line, so that names
// sort as lines do.
type segment struct {
	first uint64
	path  string
}

var segmentName = regexp.MustCompile(`^audit-([0-9]{20})\.jsonl$`)

func segmentPath(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("audit-%020d.jsonl", first))
}

// segments lists the files of the log in dir, oldest first.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing the audit log: %w", err)
	}
	var out []segment
	for _, e := range entries {
		m := segmentName.FindStringSubmatch(e.Name())
		if m == nil || !isFile(filepath.Join(dir, e.Name())) {
			continue
		}
		first, err := strconv.ParseUint(m[1], 10, 64)
		if err != nil {
			continue // a number that no line has
		}
		out = append(out, segment{first, filepath.Join(dir, e.Name())})
	}
	slices.SortFunc(out, func(a, b segment) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	return out, nil
}

// isFile tells files, also those that were moved and linked to, from what has
// no end to be read to, such as a pipe that somebody put there.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// firstLine reads the first line of a file.
func firstLine(path string) (first *Line, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer f.Close()
	err = lines(f, 0, 1, func(l *Line, _ int64) error {
		first = l
		return io.EOF
	})
	if first == nil {
		if err == nil {
			err = efs.ErrDamaged
		}
		return nil, fmt.Errorf("first line of %s: %w", filepath.Base(path), err)
	}
	return first, nil
}

// size returns the length of a file, bytes.
func (s segment) size() (int64, error) {
	info, err := os.Stat(s.path)
	if err != nil {
		return 0, fmt.Errorf("looking at the audit log: %w", err)
	}
	return info.Size(), nil
}
