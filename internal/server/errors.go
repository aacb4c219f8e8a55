package server

import (
	"context"
	"errors"
	"os"

	"github.com/efs-project/efs"
)

// writeProblem turns an error of the core into what the caller is told.
func writeProblem(err error) error {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, efs.ErrNotFound), errors.Is(err, efs.ErrForgotten):
		return notFound.from(err, "Check the path. Names are compared byte for byte.")
	case errors.Is(err, efs.ErrExists):
		return exists.from(err, "Choose another name, or remove what is there first.")
	case errors.Is(err, efs.ErrPrecondition):
		return preconditionFailed.from(err, "The entry is not in the state that the request demands. Read it again before deciding what to do.")
	case errors.Is(err, efs.ErrConflict):
		return conflict.from(err, "Others keep changing the same entry. Nothing was changed; try again.")
	case errors.Is(err, efs.ErrUnitBorder):
		return unitBorder.from(err, "A directory is not moved from one erasure unit to another, as each has keys of its own. Copy it and delete the original.")
	case errors.Is(err, efs.ErrNotDir):
		return notDirectory.from(err, "Part of the path is a file. Choose another path.")
	case errors.Is(err, efs.ErrIsDir):
		return isDirectory.from(err, "The path names a directory. Name a file in it; to remove it, end the path in a slash.")
	case errors.Is(err, efs.ErrSymlink):
		return isSymlink.from(err, "A symbolic link has no contents. HEAD tells its target in EFS-Target; read what that names, if it is here.")
	case errors.Is(err, efs.ErrNotEmpty):
		return notEmpty.from(err, "Remove what is in the directory first, or add ?recursive=true.")
	case errors.Is(err, efs.ErrBadPath):
		return badPath.from(err, "Paths are UTF-8, at most 4096 bytes, with segments of 1 to 255 bytes, none of them . or ...")
	case errors.Is(err, efs.ErrDigest):
		return digestMismatch.from(err, "Nothing was stored. Compare the digest with the body and send both again.")
	}
	return serverProblem(err)
}

// serverProblem tells of failures that are none of the caller's.
func serverProblem(err error) error {
	switch {
	case errors.Is(err, efs.ErrQuota):
		return quota.from(err, "Remove something, or ask the operator for more. Removing always works.")
	case errors.Is(err, efs.ErrNoSpace):
		return noSpace.from(err, "Nothing was stored. Remove something, or ask the operator for a larger volume.")
	case errors.Is(err, efs.ErrLogTruncated):
		return logTruncated.from(err, "List the tree again, then follow the log from its present end.")
	case errors.Is(err, efs.ErrStopped):
		return stopped.from(err, "Nothing was confirmed. The operator must look at the volume and restart the server.")
	case errors.Is(err, efs.ErrDamaged), errors.Is(err, efs.ErrWrongKey):
		return damaged.from(err, "The stored data was tampered with, cut or lost; none of it is delivered. The operator finds out more with efsctl fsck --deep and restores it from a backup.")
	case errors.Is(err, efs.ErrSealed):
		return sealedProblem()
	case errors.Is(err, efs.ErrUnavailable), errors.Is(err, efs.ErrRefused):
		return &problem{kind: temporarilyUnavail, cause: err, retry: 5, detail: "A key service or store does not answer, or refuses. Nothing was changed; try again."}
	case errors.Is(err, efs.ErrBadInput):
		return badHeader.from(err, "A value of the request is not acceptable. Check names, types and metadata.")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return incompleteBody.from(err, "The request was given up before it was done. Send it again.")
	}
	return internalError.from(err, "Try again. If it stays, give the operator the request id.")
}

// readProblem is writeProblem for requests that only read: where a file stands
// in the way of a path, there is nothing to be read at it.
func readProblem(err error) error {
	if errors.Is(err, efs.ErrNotDir) {
		return notFound.from(err, "Check the path. Part of it is a file.")
	}
	return writeProblem(err)
}

func sealedProblem() *problem {
	return &problem{kind: sealed, retry: 10, detail: "The operator must give the server its starter key: efsctl init on an empty root, efsctl unseal otherwise."}
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

var errTrailing = errors.New("more than one JSON value")
