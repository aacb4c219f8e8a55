package fsys

import (
	"context"
	"fmt"
)

// setRecovery has the keys of all epochs sealed to recipient as well, "" for
// nobody. The keyring remembers it, and does so with each key that it makes.
func (fs *FS) setRecovery(ctx context.Context, recipient string) error {
	if recipient == "" && fs.o.Keys.Recovery() == "" {
		return nil
	}
	if err := fs.o.Keys.SetRecovery(ctx, recipient); err != nil {
		return fmt.Errorf("keys for the recovery recipient: %w", err)
	}
	return nil
}

// resumeRecovery makes good what a crash between the keys and the policy left,
// or what is missing of the keys for the recovery recipient. A KMS that is away
// is no reason not to open: the next start, or the next key, does it.
func (fs *FS) resumeRecovery(ctx context.Context) error {
	fs.report("sealing the keys to the recovery recipient", fs.setRecovery(ctx, fs.Policy().Recovery))
	return nil
}
