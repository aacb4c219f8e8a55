package journal

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Names in the directory. Numbers only grow.
const (
	checkpointSuffix = ".checkpoint"
	logSuffix        = ".log"
	partSuffix       = ".part" // of a checkpoint that is being written
)

func fileName(number uint64, suffix string) string { return fmt.Sprintf("%010d%s", number, suffix) }

// file is one of the journal's files.
type file struct {
	kind   kind
	number uint64
	path   string
	size   int64
}

// list returns the files of a journal by number, a checkpoint before the log
// of the same number; other names are passed by.
func list(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, e := range entries {
		f, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if os.IsNotExist(err) {
			continue // removed meanwhile
		} else if err != nil {
			return nil, err
		}
		f.path, f.size = filepath.Join(dir, e.Name()), info.Size()
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b file) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.kind, b.kind))
	})
	return files, nil
}

func parseName(name string) (f file, ok bool) {
	stem, found := strings.CutSuffix(name, checkpointSuffix)
	f.kind = kindCheckpoint
	if !found {
		f.kind = kindLog
		if stem, found = strings.CutSuffix(name, logSuffix); !found {
			return f, false
		}
	}
	n, err := strconv.ParseUint(stem, 10, 64)
	f.number = n
	return f, err == nil && filepath.Base(fileName(n, "")) == stem
}

func only(files []file, k kind) []file {
	return slices.DeleteFunc(slices.Clone(files), func(f file) bool { return f.kind != k })
}
