package access

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
)

// kindLimit: name of a user, or limitDefault → Limits.
const kindLimit = "limit"

// limitDefault stands where no user's name can: for all users without limits
// of their own.
const limitDefault = "*"

// Limits bound what one user may take of a server, over all of the user's
// connections. A zero field sets no bound.
type Limits struct {
	Format    int     `cbor:"1,keyasint" json:"-"`
	Requests  float64 `cbor:"2,keyasint,omitempty" json:"requests_per_second,omitempty"`
	Bandwidth int64   `cbor:"3,keyasint,omitempty" json:"bytes_per_second,omitempty"` // of bodies, in and out together
	Uploads   int     `cbor:"4,keyasint,omitempty" json:"uploads,omitempty"`          // large ones under way at the same time
}

func (l Limits) check() error {
	switch {
	case l.Requests < 0 || l.Requests > 1e6 || l.Requests != 0 && l.Requests < 0.001:
		return fmt.Errorf("%w: a limit of %g requests a second; 0.001 to a million, or 0 for none", efs.ErrBadInput, l.Requests)
	case l.Bandwidth < 0 || l.Bandwidth != 0 && l.Bandwidth < 1<<10:
		return fmt.Errorf("%w: a limit of %d bytes a second; at least 1024, or 0 for none", efs.ErrBadInput, l.Bandwidth)
	case l.Uploads < 0:
		return fmt.Errorf("%w: a limit of %d uploads; 0 for none", efs.ErrBadInput, l.Uploads)
	}
	return nil
}

// none reports whether nothing is bounded.
func (l Limits) none() bool { return l.Requests == 0 && l.Bandwidth == 0 && l.Uploads == 0 }

// LimitsOf returns the limits that hold for a user: the user's own, or those
// for all users of the file system. ok is false where there are none. It is
// asked at every request.
func (d *Directory) LimitsOf(user string) (l Limits, ok bool) {
	all := d.limits.Load()
	if all == nil || len(*all) == 0 {
		return Limits{}, false
	}
	if l, ok = (*all)[user]; !ok {
		l, ok = (*all)[limitDefault]
	}
	return l, ok && !l.none()
}

// Limits returns the limits that were set, by user, and under "" those for all
// others.
func (d *Directory) Limits() map[string]Limits {
	out := map[string]Limits{}
	if all := d.limits.Load(); all != nil {
		for user, l := range *all {
			if user == limitDefault {
				user = ""
			}
			out[user] = l
		}
	}
	return out
}

// SetLimits sets the limits of a user, or with "" those of all users that have
// none of their own; they hold for the next request on. Zero limits of a user
// are limits too: that user has none, whatever others have. efs.ErrBadInput,
// efs.ErrNotFound (no such user).
func (d *Directory) SetLimits(ctx context.Context, user string, l Limits) error {
	if err := l.check(); err != nil {
		return err
	}
	if user != "" {
		if _, err := d.GetUser(ctx, user); err != nil {
			return err
		}
	}
	l.Format = recordVersion
	value, err := detcbor.Marshal(l)
	if err != nil {
		return fmt.Errorf("encoding limits: %w", err)
	}
	return d.putLimits(ctx, user, value)
}

// DropLimits takes a user's own limits away, so that those for all users hold;
// with "" these. efs.ErrNotFound if there are none.
func (d *Directory) DropLimits(ctx context.Context, user string) error {
	if _, ok := d.Limits()[user]; !ok {
		return fmt.Errorf("limits of %q in %s: %w", user, d.fs, efs.ErrNotFound)
	}
	return d.putLimits(ctx, user, nil)
}

func (d *Directory) putLimits(ctx context.Context, user string, value []byte) error {
	if user == "" {
		user = limitDefault
	}
	d.write.Lock()
	defer d.write.Unlock()
	err := retry(func() error {
		_, version, err := d.store.AccessGet(ctx, kindLimit, user)
		if err != nil && !errors.Is(err, efs.ErrNotFound) {
			return err
		}
		if value == nil && version == 0 {
			return nil
		}
		return d.store.AccessCommit(ctx, []efs.AccessMutation{{Kind: kindLimit, Name: user, Value: value, Version: version}})
	})
	// Also after a failure: it may have come after the change was stored.
	return errors.Join(err, d.loadLimits(context.WithoutCancel(ctx)))
}

// loadLimits reads all limits from the store.
func (d *Directory) loadLimits(ctx context.Context) error {
	all := map[string]Limits{}
	const page = 1 << 14
	for after := ""; ; {
		records, err := d.store.AccessList(ctx, kindLimit, after, page)
		if err != nil {
			return fmt.Errorf("reading the limits of users of %s: %w", d.fs, err)
		}
		for _, r := range records {
			var l Limits
			if err := detcbor.Unmarshal(r.Value, &l); err != nil || l.Format != recordVersion {
				return fmt.Errorf("limits of %s in %s cannot be read: %w", r.Name, d.fs, unreadable(r.Value, recordVersion))
			}
			all[r.Name] = l
			after = r.Name
		}
		if len(records) < page {
			break
		}
	}
	if old := d.limits.Load(); old == nil || !maps.Equal(*old, all) {
		d.limits.Store(&all)
	}
	return nil
}
