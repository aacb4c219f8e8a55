package mirror

import (
	"context"
	"os"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/treesync"
)

// dropOutdated drops the upload that was begun of a file which is another by
// now: what it holds on the server would count against quotas for a day.
func (m *Mirror) dropOutdated(ctx context.Context, a *treesync.Action, to *remote) {
	if id := m.mem.outdated(a.Path, a.Source.Stamp); id != "" {
		_ = to.c.AbortUpload(ctx, id) // else it vanishes by itself
	}
}

// sendParts stores a large file in parts, going on where an earlier run was
// cut off, if the file is still the same.
func (m *Mirror) sendParts(ctx context.Context, a *treesync.Action, f *os.File, to *remote, o client.PutOptions) (*client.Stored, error) {
	up := client.UploadOptions{PutOptions: o}
	if m.o.StateDir != "" {
		up.Resume = m.mem.upload(a.Path, a.Source.Stamp)
		up.Started = func(id string) { m.mem.uploading(a.Path, a.Source.Stamp, id) }
	}
	stored, err := to.c.Upload(ctx, to.path(a.Path), f, a.Source.Size, up)
	if err == nil && m.o.StateDir != "" {
		m.mem.uploading(a.Path, a.Source.Stamp, "")
	}
	return stored, err
}
