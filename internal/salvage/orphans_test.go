package salvage

import (
	"io"
	"slices"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
)

// Contents of files that were deleted tell of paths that others had before or
// after them, within seconds or as a directory: all come out.
func TestOrphansHaveNamesOfTheirOwn(t *testing.T) {
	var all []*orphan
	for _, p := range []string{"a", "b", "b", "b", "c", "c d", "c/e", "../f"} {
		o := &orphan{path: p}
		o.entry.File = efs.NewTimeID()
		all = append(all, o)
	}
	names := orphanNames("recovered", all)
	if names[0] != "recovered/a" || names[1] != "recovered/b" || names[6] != "recovered/c/e" {
		t.Errorf("paths that nothing else had: %q", names)
	}
	for i, name := range names {
		if !archive.ValidName(name) || slices.Contains(names[:i], name) {
			t.Errorf("%q is no name, or not its own: %q", name, names)
		}
		if slices.ContainsFunc(names, func(other string) bool { return len(other) > len(name) && other[:len(name)+1] == name+"/" }) {
			t.Errorf("%q is a file and a directory: %q", name, names)
		}
	}
}

// What only contents tell of does not mix with a directory that users call so,
// as rebuild-index does.
func TestOrphansStandApart(t *testing.T) {
	j := &job{sink: &TarSink{W: io.Discard}, dirs: map[string]bool{}, taken: map[string]bool{}}
	if err := j.sink.Begin(archive.Info{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"recovered", "recovered/a", "sub"} {
		if err := j.emit(t.Context(), name, name, &efs.Entry{Kind: efs.KindDir}); err != nil {
			t.Fatal(err)
		}
	}
	if dir := j.recoveredIn(); dir != "recovered~" || j.rep.RecoveredIn != dir {
		t.Errorf("they come out in %q, %q", dir, j.rep.RecoveredIn)
	}
}
