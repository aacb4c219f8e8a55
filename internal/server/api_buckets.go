package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/node"
)

// bucketView is a file system as the API shows it.
type bucketView struct {
	Name       string         `json:"name"`
	ID         efs.ID         `json:"id"`
	Created    time.Time      `json:"created"`
	Files      int64          `json:"files"`
	Bytes      int64          `json:"bytes"`
	Encryption encryptionView `json:"encryption"`
}

// bucketView describes a file system. What it holds is for those who manage
// it: others see less than all of it.
func (x *exchange) bucketView(f *node.FileSystem) (bucketView, error) {
	v := bucketView{Name: f.Name(), ID: f.ID(), Created: f.Created.UTC(), Encryption: viewPolicy(f.Policy())}
	if x.mayBucket(f.Name()) != nil {
		return v, nil
	}
	u, err := f.Usage(x.r.Context())
	v.Files, v.Bytes = u.Files, u.Bytes
	return v, err
}

// listBuckets answers GET /api/v1/buckets: those that the caller has any right
// in; all, for administrators of the server.
func (x *exchange) listBuckets(target) error {
	q := x.query()
	p := q.page()
	if err := q.done(); err != nil {
		return err
	}
	views := []bucketView{}
	for _, f := range x.s.node.FileSystems() {
		if x.mayKnow(f.Name()) != nil {
			continue
		}
		v, err := x.bucketView(f)
		if err != nil {
			return writeProblem(err)
		}
		views = append(views, v)
	}
	part, next := cut(p, views, func(v *bucketView) string { return v.Name })
	return x.sendValue(http.StatusOK, struct {
		Buckets []bucketView `json:"buckets"`
		Next    *string      `json:"next"`
	}{part, next})
}

// createBucket answers POST /api/v1/buckets.
func (x *exchange) createBucket(target) error {
	var in struct {
		Name string `json:"name"`
	}
	if err := x.noQuery(); err != nil {
		return err
	}
	if err := x.mayAdmin(); err != nil {
		return err
	}
	if err := x.readAPI(&in); err != nil {
		return err
	}
	x.note = "about " + in.Name
	switch err := x.s.node.CreateFS(x.r.Context(), in.Name, nil); {
	case errors.Is(err, efs.ErrBadInput):
		return badJSON.from(err, "name must be 2 to 63 lower-case letters, digits and dashes, beginning with a letter or digit.")
	case errors.Is(err, efs.ErrExists):
		return exists.from(err, "There is a bucket of this name, or something lies where its directories would be.")
	case err != nil:
		return writeProblem(err)
	}
	f, err := x.s.node.FS(in.Name)
	if err != nil {
		return writeProblem(err)
	}
	v, err := x.bucketView(f)
	if err != nil {
		return writeProblem(err)
	}
	return x.created(objectsPrefix+in.Name, v)
}

// getBucket answers GET /api/v1/buckets/B.
func (x *exchange) getBucket(t target) error {
	if err := x.noQuery(); err != nil {
		return err
	}
	f, err := x.knownFS(t.fs)
	if err != nil {
		return err
	}
	v, err := x.bucketView(f)
	if err != nil {
		return writeProblem(err)
	}
	return x.sendValue(http.StatusOK, v)
}

// knownFS returns a file system in which the caller has any right.
func (x *exchange) knownFS(name string) (*node.FileSystem, error) {
	if err := x.mayKnow(name); err != nil {
		return nil, err
	}
	f, err := x.s.node.FS(name)
	if err != nil {
		return nil, writeProblem(err)
	}
	return f, nil
}

// managedFS returns a file system that the caller manages.
func (x *exchange) managedFS(name string) (*node.FileSystem, error) {
	if err := x.mayBucket(name); err != nil {
		return nil, err
	}
	f, err := x.s.node.FS(name)
	if err != nil {
		return nil, writeProblem(err)
	}
	return f, nil
}

// deleteBucket answers DELETE /api/v1/buckets/B: of an empty one, or of any
// with force=true. Its keys are destroyed.
func (x *exchange) deleteBucket(t target) error {
	q := x.query()
	force := q.flag("force")
	if err := q.done(); err != nil {
		return err
	}
	if err := x.mayAdmin(); err != nil {
		if known := x.mayKnow(t.fs); known != nil {
			return known
		}
		return err
	}
	f, err := x.s.node.FS(t.fs)
	if err == nil && !force {
		entries, _, err := f.List(x.r.Context(), "", fsys.ListOptions{Limit: 1})
		if err != nil {
			return writeProblem(err)
		}
		if len(entries) > 0 {
			return notEmpty.with("The bucket holds files, which nobody could read again. Empty it first, or give force=true.")
		}
	}
	if err := x.s.node.DeleteFS(x.r.Context(), t.fs, nil); err != nil {
		return writeProblem(err)
	}
	return x.noContent()
}

// clearCache answers POST /api/v1/cache/clear.
func (x *exchange) clearCache(target) error {
	if err := x.noQuery(); err != nil {
		return err
	}
	if err := x.mayAdmin(); err != nil {
		return err
	}
	return x.sendValue(http.StatusOK, x.s.node.ClearCache())
}
