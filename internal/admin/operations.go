package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/policyset"
)

type none struct{}

// operations are the commands, by the name they are POSTed under.
var operations = map[string]operation{
	opStatus:     typed(status),
	opInit:       typed(initialise),
	opUnseal:     typed(unseal),
	opCreateFS:   typed(createFS),
	opDeleteFS:   typed(deleteFS),
	opListFS:     typed(listFS),
	opCreateUser: typed(createUser),
	opListUsers:  typed(listUsers),
	opDeleteUser: typed(deleteUser),
	opRevoke:     typed(revoke),
	opAddKey:     typed(addKey),
	opRemoveKey:  typed(removeKey),
	opFsck:       typed(fsck),
	opResolve:    typed(resolve),
	opClearCache: typed(clearCache),
	opReload:     typed(reload),

	opForget:     typed(forget),
	opReceipts:   typed(receipts),
	opReceiptKey: typed(receiptKey),

	opRotate:      typed(rotate),
	opRotateKMS:   typed(rotateKMS),
	opEpochs:      typed(epochs),
	opAuditShow:   typed(auditShow),
	opAuditVerify: typed(auditVerify),
	opAuditHead:   typed(auditHead),
	opAuditKey:    typed(auditTakeKey),

	opPolicy:      typed(policyHistory),
	opSetPolicy:   typed(setPolicy),
	opQuotas:      typed(quotas),
	opSetQuota:    typed(setQuota),
	opRetireEpoch: typed(retireEpoch),
	opReseal:      typed(reseal),
	opJobs:        typed(jobs),
	opWaitJob:     typed(waitJob),
	opCancelJob:   typed(cancelJob),

	opRotateStarter: typed(rotateStarter),
	opRotateJWT:     typed(rotateJWT),
	opRotateCA:      typed(rotateCA),
	opBackupKeys:    typed(backupKeys),
	opRestoreKeys:   typed(restoreKeys),
	opKeyCopies:     typed(keyCopies),
	opBackup:        typed(makeBackup),
	opListBackups:   typed(listBackups),
	opRestore:       typed(restore),
	opRebuildIndex:  typed(rebuildIndex),
	opDrill:         typed(drill),

	opGrant:       typed(grant),
	opRevokeGrant: typed(revokeGrant),
	opListGrants:  typed(listGrants),
}

func status(ctx context.Context, s *Server, _ *stream, _ none) (any, error) {
	return s.node.Status(ctx), nil
}

func createFS(ctx context.Context, s *Server, out *stream, r SetPolicyRequest) (any, error) {
	policy, err := policyset.Apply(efs.DefaultPolicy(), r.Set)
	if err != nil {
		return nil, err
	}
	return none{}, s.node.CreateFSWith(ctx, r.FS, policy, out.line)
}

func deleteFS(ctx context.Context, s *Server, out *stream, r FSRequest) (any, error) {
	return none{}, s.node.DeleteFS(ctx, r.FS, out.line)
}

func listFS(ctx context.Context, s *Server, _ *stream, _ none) (any, error) {
	if err := s.node.Serving(); err != nil {
		return nil, err
	}
	return s.node.ListFS(ctx), nil
}

func fsck(ctx context.Context, s *Server, out *stream, r FsckRequest) (any, error) {
	f, err := s.node.FS(r.FS)
	if err != nil {
		return nil, err
	}
	return f.Fsck(ctx, fsys.FsckOptions{Deep: r.Deep, Repair: r.Repair, Progress: out.progress})
}

// resolve looks for an id in one file system, or in all.
func resolve(ctx context.Context, s *Server, _ *stream, r ResolveRequest) (any, error) {
	if err := s.node.Serving(); err != nil {
		return nil, err
	}
	if r.FS != "" {
		if _, err := s.node.FS(r.FS); err != nil {
			return nil, err
		}
	}
	found := []ResolveResult{}
	for _, f := range s.node.FileSystems() {
		if r.FS != "" && f.Name() != r.FS {
			continue
		}
		path, err := f.Resolve(ctx, r.ID)
		switch {
		case err == nil:
			found = append(found, ResolveResult{FS: f.Name(), Path: "/" + path})
		case !errors.Is(err, efs.ErrNotFound):
			return nil, err
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("file or directory with id %s: %w; it may have been deleted", r.ID, efs.ErrNotFound)
	}
	return found, nil
}
