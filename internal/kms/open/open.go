// Package open turns the configuration of KMS providers into providers. Each
// type of provider is one line in a file of its own here, which a build tag
// can leave out.
package open

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/config"
	"github.com/go-viper/mapstructure/v2"
)

// kind is a type of provider.
type kind struct {
	options reflect.Type // its Config
	check   func(p config.Provider) error
	open    func(ctx context.Context, p config.Provider) (efs.KMS, error)
}

// kinds are the types that this program was built with, by name.
var kinds = map[string]kind{}

// leftOut are types that exist and that this program was built without, with
// what to do for them.
var leftOut = map[string]string{}

// add makes a type of provider known: its options are the fields of C with a
// koanf tag, and where C has a method Validate() error it judges them. It is
// called while the package's variables are made.
func add[C any, K efs.KMS](name string, open func(ctx context.Context, name string, c C) (K, error)) struct{} {
	decode := func(p config.Provider) (C, error) {
		var c C
		return c, decodeOptions(p, &c)
	}
	kinds[name] = kind{
		options: reflect.TypeFor[C](),
		check: func(p config.Provider) error {
			_, err := decode(p)
			return err
		},
		open: func(ctx context.Context, p config.Provider) (efs.KMS, error) {
			c, err := decode(p)
			if err != nil {
				return nil, err
			}
			k, err := open(ctx, p.Name, c)
			if err != nil {
				return nil, fmt.Errorf("opening KMS %q (%s): %w", p.Name, p.Type, err)
			}
			return k, nil
		},
	}
	return struct{}{}
}

// Types returns the types of provider that there are, sorted.
func Types() []string { return slices.Sorted(maps.Keys(kinds)) }

// Options returns the names of a type's options, nil for an unknown type.
func Options(typ string) []string {
	k, ok := kinds[typ]
	if !ok {
		return nil
	}
	return config.Names(k.options)
}

// Check reports everything in the settings of providers that cannot hold,
// without asking any of them.
func Check(providers []config.Provider) error {
	var errs []error
	for _, p := range providers {
		k, err := find(p)
		if err == nil {
			err = k.check(p)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Providers opens all of them, by name. One that does not answer at present
// is no error: it is asked again when it is needed. Close closes them.
func Providers(ctx context.Context, providers []config.Provider) (map[string]efs.KMS, error) {
	if err := Check(providers); err != nil {
		return nil, err
	}
	out := map[string]efs.KMS{}
	for _, p := range providers {
		k, err := kinds[p.Type].open(ctx, p)
		if err != nil {
			return nil, errors.Join(err, Close(out))
		}
		out[p.Name] = k
	}
	return out, nil
}

// Close gives back what providers hold, such as connections.
func Close(providers map[string]efs.KMS) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(providers)) {
		if c, ok := providers[name].(io.Closer); ok {
			if err := c.Close(); err != nil {
				errs = append(errs, fmt.Errorf("closing KMS %q: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func find(p config.Provider) (kind, error) {
	k, ok := kinds[p.Type]
	switch {
	case ok:
		return k, nil
	case leftOut[p.Type] != "":
		return k, fmt.Errorf("kms.provider %q: this program was built without the type %q: %s", p.Name, p.Type, leftOut[p.Type])
	case len(kinds) == 0:
		return k, fmt.Errorf("kms.provider %q: there is no type %q", p.Name, p.Type)
	}
	return k, fmt.Errorf("kms.provider %q: there is no type %q, but %s%s",
		p.Name, p.Type, strings.Join(Types(), ", "), config.DidYouMean(p.Type, Types()))
}

// decodeOptions fills in c, a pointer to a Config, and refuses what it has no
// field for.
func decodeOptions(p config.Provider, c any) error {
	names := config.Names(reflect.TypeOf(c).Elem())
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(p.Options)) {
		if !slices.Contains(names, key) {
			errs = append(errs, fmt.Errorf("kms.provider %q: type %q has no option %q%s", p.Name, p.Type, key, config.DidYouMean(key, names)))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{Result: c, TagName: "koanf", DecodeHook: config.DecodeHook()})
	if err != nil {
		return fmt.Errorf("kms.provider %q: %w", p.Name, err)
	}
	if err := d.Decode(p.Options); err != nil {
		return fmt.Errorf("kms.provider %q: %w", p.Name, err)
	}
	if v, ok := c.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("kms.provider %q: %w", p.Name, err)
		}
	}
	return nil
}
