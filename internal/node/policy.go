package node

import (
	"log/slog"
	"sync"
)

// watchPolicy keeps fs.toml up to date from now on. That it cannot be written
// stops nothing: it is a copy.
func (f *FileSystem) watchPolicy(log *slog.Logger) {
	var one sync.Mutex // the last to write has looked last
	f.FS.OnChange(func() {
		one.Lock()
		defer one.Unlock()
		if err := f.writePolicyExport(); err != nil {
			log.Error("the copy of the policy was not written; the next start writes it", "fs", f.Name(), "err", err)
		}
	})
}
