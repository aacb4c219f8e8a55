package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// KMS is what wraps the keys, and how long unwrapped keys are kept.
type KMS struct {
	KeyTTL       time.Duration `koanf:"key_ttl"`
	OutageGrace  time.Duration `koanf:"outage_grace"`
	Timeout      time.Duration `koanf:"timeout"`
	DeletionWait time.Duration `koanf:"deletion_wait"`
	Providers    []Provider    `koanf:"provider"`
}

// Provider is a [[kms.provider]]: a KMS besides the local one. Which options
// there are depends on the type; internal/kms/open knows.
type Provider struct {
	Name    string         `koanf:"name"`
	Type    string         `koanf:"type"`
	Options map[string]any `koanf:",remain"`
}

var providerName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// localProvider is always there and has no settings.
const localProvider = "local"

func (k *KMS) validate() error {
	var errs []error
	if k.KeyTTL < time.Second {
		errs = append(errs, fmt.Errorf("kms.key_ttl: %s is below one second", k.KeyTTL))
	}
	if k.OutageGrace < 0 {
		errs = append(errs, fmt.Errorf("kms.outage_grace: %s is below zero", k.OutageGrace))
	}
	if k.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("kms.timeout: %s is not above zero", k.Timeout))
	}
	if k.DeletionWait < 24*time.Hour || k.DeletionWait > 30*24*time.Hour {
		errs = append(errs, fmt.Errorf("kms.deletion_wait: %s is not from 1d to 30d", k.DeletionWait))
	}
	seen := map[string]bool{localProvider: true}
	for i, p := range k.Providers {
		where := fmt.Sprintf("kms.provider %d", i+1)
		switch {
		case p.Name == "":
			errs = append(errs, fmt.Errorf("%s: name is missing: policies refer to a provider by its name", where))
		case !providerName.MatchString(p.Name):
			errs = append(errs, fmt.Errorf("%s: name %q: use a-z, 0-9 and -, at most 63", where, p.Name))
		case p.Name == localProvider:
			errs = append(errs, fmt.Errorf("%s: the name \"local\" is taken by the KMS that every server has", where))
		case seen[p.Name]:
			errs = append(errs, fmt.Errorf("%s: the name %q is taken by another one", where, p.Name))
		}
		seen[p.Name] = true
		if p.Type == "" {
			errs = append(errs, fmt.Errorf("%s: type is missing", where))
		}
	}
	return errors.Join(errs...)
}

// validate looks at the starter key's KMS, whose provider must be one of ps.
func (s *Starter) validate(ps []Provider) error {
	if s.KMS == "" {
		return nil
	}
	if !strings.Contains(s.KMS, "/") { // PROVIDER:KEY is the same
		s.KMS = strings.Replace(s.KMS, ":", "/", 1)
	}
	name, key, ok := strings.Cut(s.KMS, "/")
	if !ok || name == "" || key == "" {
		return fmt.Errorf("starter.kms: %q is not PROVIDER/KEY", s.KMS)
	}
	for _, p := range ps {
		if p.Name == name {
			return nil
		}
	}
	if name == localProvider {
		return fmt.Errorf("starter.kms: the local KMS is itself sealed by the starter key: name another provider")
	}
	return fmt.Errorf("starter.kms: there is no [[kms.provider]] of the name %q", name)
}
