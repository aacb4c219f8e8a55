package main

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/efs-project/efs/client"
)

// absolute is a path in the file system as it is meant from the current
// directory; "." and ".." are resolved, a slash at the end stays.
func (s *shell) absolute(p string) string {
	if !strings.HasPrefix(p, "/") {
		p = s.dir + "/" + p
	}
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// paths returns the paths that words mean; of none, the current directory.
func (s *shell) paths(ctx context.Context, words []word) ([]string, error) {
	if len(words) == 0 {
		return []string{s.dir}, nil
	}
	var paths []string
	for _, w := range words {
		found, err := s.matches(ctx, w)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			found = []string{s.absolute(w.text)} // as shells do
		}
		paths = append(paths, found...)
	}
	return paths, nil
}

// matches returns what a pattern fits, sorted; nothing where w is none.
func (s *shell) matches(ctx context.Context, w word) ([]string, error) {
	if !w.glob {
		return nil, nil
	}
	found := []string{s.dir}
	if strings.HasPrefix(w.pattern, "/") {
		found = []string{"/"}
	}
	segments := strings.Split(strings.Trim(w.pattern, "/"), "/")
	dirsOnly := strings.HasSuffix(w.pattern, "/")
	for i, segment := range segments {
		var next []string
		for _, dir := range found {
			below, err := s.matchIn(ctx, dir, segment, dirsOnly || i < len(segments)-1)
			if err != nil {
				return nil, err
			}
			next = append(next, below...)
		}
		found = next
	}
	slices.Sort(found)
	return found, nil
}

// matchIn returns what in dir one segment of a pattern fits.
func (s *shell) matchIn(ctx context.Context, dir, segment string, dirsOnly bool) ([]string, error) {
	prefix, meta := literalPrefix(segment)
	if !meta {
		p := path.Join(dir, prefix)
		if prefix == ".." || prefix == "." || prefix == "" {
			return []string{p}, nil
		}
		e, err := s.client.Stat(ctx, p)
		if notThere(err) {
			return nil, nil
		}
		if err != nil || dirsOnly && !e.IsDir() {
			return nil, err
		}
		return []string{p}, nil
	}
	var found []string
	for e, err := range s.beginning(ctx, dir, prefix) {
		if notThere(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		if dirsOnly && !e.IsDir() || e.Name[0] == '.' && !strings.HasPrefix(segment, ".") {
			continue
		}
		if ok, _ := path.Match(segment, e.Name); ok { // it has been checked that the pattern is one
			found = append(found, path.Join(dir, e.Name))
		}
	}
	return found, nil
}

// literalPrefix is what every name begins with that a pattern matches, and
// whether there is more to it.
func literalPrefix(pattern string) (prefix string, meta bool) {
	var b strings.Builder
	escaped := false
	for _, r := range pattern {
		switch {
		case !escaped && r == '\\':
			escaped = true
			continue
		case !escaped && strings.ContainsRune("*?[", r):
			return b.String(), true
		}
		b.WriteRune(r)
		escaped = false
	}
	return b.String(), false
}

func notThere(err error) bool {
	return errors.Is(err, client.ErrNotFound) || errors.Is(err, client.ErrNotDir)
}

// beginning lists what in dir begins with prefix, without reading the rest of
// a directory that may hold a million names.
func (s *shell) beginning(ctx context.Context, dir, prefix string) iter.Seq2[client.Entry, error] {
	return func(yield func(client.Entry, error) bool) {
		for e, err := range s.client.List(ctx, dir, client.ListOptions{After: before(prefix)}) {
			if err == nil && !strings.HasPrefix(e.Name, prefix) {
				if cmp.Compare(e.Name, prefix) > 0 {
					return
				}
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// before returns a name that sorts before all that begin with prefix, and
// close to them; "" where there is none such.
func before(prefix string) string {
	last, size := utf8.DecodeLastRuneInString(prefix)
	switch {
	case size == 0 || last <= ' ':
		return ""
	case last == '0':
		last = '.' // a slash is none of a name
	case last == 0xE000:
		last = 0xD7FF // in between are the surrogates
	default:
		last--
	}
	return prefix[:len(prefix)-size] + string(last) + string(utf8.MaxRune)
}
