package browse

import (
	"context"
	"fmt"
	"io"

	"github.com/efs-project/efs/client"
)

// Tree draws what is below a directory of a file system, and counts it.
type Tree struct {
	Client *client.Client
	Out    io.Writer
	Name   func(e *client.Entry) string // how a name is written; of a directory with its slash

	Dirs, Files int // drawn so far; what is no directory counts as a file
}

// Draw draws all below dir. It holds one entry back at each level: the last
// one is drawn differently.
func (t *Tree) Draw(ctx context.Context, dir string) error { return t.below(ctx, dir, "") }

func (t *Tree) below(ctx context.Context, dir, indent string) error {
	var held *client.Entry
	for e, err := range t.Client.List(ctx, dir, client.ListOptions{}) {
		if err != nil {
			return err
		}
		if held != nil {
			if err := t.draw(ctx, held, indent, "├── ", "│   "); err != nil {
				return err
			}
		}
		held = &e
	}
	if held == nil {
		return nil
	}
	return t.draw(ctx, held, indent, "└── ", "    ")
}

func (t *Tree) draw(ctx context.Context, e *client.Entry, indent, branch, below string) error {
	if _, err := fmt.Fprintln(t.Out, indent+branch+t.Name(e)); err != nil {
		return err
	}
	if !e.IsDir() {
		t.Files++
		return nil
	}
	t.Dirs++
	return t.below(ctx, e.Path, indent+below)
}

// Summary is the line below a tree.
func (t *Tree) Summary() string {
	return Count(t.Dirs, "directory", "directories") + ", " + Count(t.Files, "file", "files")
}
