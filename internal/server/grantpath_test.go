package server

import (
	"context"
	"testing"

	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/node"
)

// Who manages a bucket grants what is in it and nothing else, also where the
// bucket is called as the texts of keys begin, and never all of it by leaving
// the path away.
func TestABucketsManagerGrantsPathsOfTheBucketAlone(t *testing.T) {
	w := newWorld(t)
	must(t, w.node.CreateFS(context.Background(), "kms", nil))
	w.addUser("kms", "mallory")
	w.grantTo("mallory", "kms", "/", access.Admin)
	mallory := w.as("mallory@kms")
	const grants = "/api/v1/buckets/kms/grants"
	me := access.Principal{User: "mallory", Realm: "kms"}
	for _, method := range []string{"POST", "DELETE"} {
		for _, path := range []any{"default", "local/default", "", nil, "a", "docs:/"} {
			for _, what := range []string{"kms:admin", "read"} {
				mallory.json(method, grants, map[string]any{"user": "mallory", "permissions": []string{what}, "path": path}).wantProblem(badJSON)
			}
		}
		mallory.json(method, grants, map[string]any{"user": "mallory", "permissions": []string{"read"}}).wantProblem(badJSON)
	}
	if have := w.node.KeyRights(me).OnKey(node.LocalProvider, "default"); have != 0 {
		t.Errorf("mallory has %s on the default key", have)
	}
	mallory.json("POST", grants, map[string]any{"user": "carol@other", "permissions": []string{"reader"}, "path": "/shared"}).want(200)
	mallory.do("PUT", "/data/shared/x", "x").want(201)
	w.as("carol@other").do("GET", "/api/v1/buckets/kms/objects/shared/x", nil).want(200)
}
