// Package policyset reads changes of a policy as administrators write them,
// KEY=VALUE, and writes a policy in the same words.
package policyset

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/config"
)

// setting is one key: what it is called, how it is read and shown.
type setting struct {
	name string
	set  func(p *efs.Policy, value string) error
	show func(p *efs.Policy) string
}

// settings are all keys, in the order in which they are shown.
var settings = []setting{
	{"algorithm", setAlgorithm, nil},
	{"kms_key_id", setKey, nil},
	{"stages", setStages, func(p *efs.Policy) string { return Stages(p.Stages) }},
	{"compression", func(p *efs.Policy, v string) error { p.Compression = v; return nil },
		func(p *efs.Policy) string { return p.Compression }},
	{"padding", func(p *efs.Policy, v string) error { p.Padding = v; return nil },
		func(p *efs.Policy) string { return p.Padding }},
	{"inline_limit", func(p *efs.Policy, v string) error { return setSize(&p.InlineLimit, v) },
		func(p *efs.Policy) string { return config.Size(p.InlineLimit).String() }},
	{"segment_size", func(p *efs.Policy, v string) error { return setSize(&p.SegmentSize, v) },
		func(p *efs.Policy) string { return config.Size(p.SegmentSize).String() }},
	{"fan_out", setFanOut, nil},
	{"erasure_unit", func(p *efs.Policy, v string) error { p.ErasureUnit = v; return nil },
		func(p *efs.Policy) string { return p.ErasureUnit }},
	{recovery, setRecovery, func(p *efs.Policy) string { return brief(p.Recovery) }},
}

const recovery = "recovery_recipient"

// setRecovery takes a public key, or "none".
func setRecovery(p *efs.Policy, value string) error {
	if p.Recovery = value; value == "none" {
		p.Recovery = ""
	}
	return nil
}

// brief is enough of a public key to know it by; all of it fills a screen.
func brief(key string) string {
	const begin, end = 16, 8
	if len(key) <= begin+end {
		return key
	}
	return key[:begin] + "…" + key[len(key)-end:]
}

// Names are the keys that can be set.
func Names() []string {
	var names []string
	for _, s := range settings {
		names = append(names, s.name)
	}
	return names
}

// Apply returns p with what each of changes, KEY=VALUE, says, in their order.
// What the values come to is judged by who uses the policy. efs.ErrBadInput.
func Apply(p efs.Policy, changes []string) (efs.Policy, error) {
	p.Stages = append([]efs.StagePolicy(nil), p.Stages...)
	for _, c := range changes {
		key, value, ok := strings.Cut(c, "=")
		if !ok {
			return p, fmt.Errorf("%w: '%s' is not of the form KEY=VALUE, such as compression=zstd", efs.ErrBadInput, c)
		}
		s := find(strings.TrimSpace(key))
		if s == nil {
			return p, fmt.Errorf("%w: a policy has no '%s'; it has %s", efs.ErrBadInput, key, strings.Join(Names(), ", "))
		}
		if err := s.set(&p, strings.TrimSpace(value)); err != nil {
			return p, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return p, nil
}

func find(name string) *setting {
	for i := range settings {
		if settings[i].name == name {
			return &settings[i]
		}
	}
	return nil
}

// Show writes p as Apply reads it, a key and its value each; of a recovery
// recipient, where there is one, the beginning and the end.
func Show(p efs.Policy) [][2]string {
	return slices.DeleteFunc(rows(p), func(row [2]string) bool { return row == [2]string{recovery, ""} })
}

func rows(p efs.Policy) [][2]string {
	var rows [][2]string
	for _, s := range settings {
		if s.show != nil {
			rows = append(rows, [2]string{s.name, s.show(&p)})
		}
	}
	return rows
}

// Diff says what of before is otherwise in after: "compression: none → zstd".
func Diff(before, after efs.Policy) []string {
	diff := []string{}
	b, a := rows(before), rows(after)
	for i := range b {
		if b[i][1] != a[i][1] {
			diff = append(diff, fmt.Sprintf("%s: %s → %s", b[i][0], orNone(b[i][1]), orNone(a[i][1])))
		}
	}
	return diff
}

func orNone(s string) string {
	if s == "" {
		return "''"
	}
	return s
}

// Stages writes stages as ALGORITHM:PROVIDER/KEY, with commas.
func Stages(stages []efs.StagePolicy) string {
	var all []string
	for _, s := range stages {
		all = append(all, s.Algorithm+":"+s.Provider+"/"+s.KeyID)
	}
	return strings.Join(all, ",")
}

func setStages(p *efs.Policy, value string) error {
	p.Stages = nil
	for _, text := range strings.Split(value, ",") {
		algorithm, rest, ok := strings.Cut(strings.TrimSpace(text), ":")
		provider, key, found := strings.Cut(rest, "/")
		if !ok || !found || algorithm == "" || provider == "" || key == "" {
			return fmt.Errorf("%w: '%s' is no stage such as AES256:local/default", efs.ErrBadInput, text)
		}
		p.Stages = append(p.Stages, efs.StagePolicy{Algorithm: algorithm, Provider: provider, KeyID: key})
	}
	return nil
}

// only returns the only stage.
func only(p *efs.Policy) (*efs.StagePolicy, error) {
	if len(p.Stages) != 1 {
		return nil, fmt.Errorf("%w: the policy has %d stages: say all of them with stages=%s", efs.ErrBadInput, len(p.Stages), Stages(p.Stages))
	}
	return &p.Stages[0], nil
}

func setAlgorithm(p *efs.Policy, value string) error {
	s, err := only(p)
	if err == nil {
		s.Algorithm = value
	}
	return err
}

// setKey takes KEY, or PROVIDER/KEY.
func setKey(p *efs.Policy, value string) error {
	s, err := only(p)
	if err != nil {
		return err
	}
	provider, key, found := strings.Cut(value, "/")
	if !found {
		provider, key = s.Provider, value
	}
	if provider == "" || key == "" {
		return fmt.Errorf("%w: '%s' is no key such as my-key or vault/my-key", efs.ErrBadInput, value)
	}
	s.Provider, s.KeyID = provider, key
	return nil
}

func setFanOut(p *efs.Policy, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil {
		return fmt.Errorf("%w: '%s' is no number of directory levels", efs.ErrBadInput, value)
	}
	p.FanOut = n
	return nil
}

func setSize(n *int, value string) error {
	var size config.Size
	if err := size.UnmarshalText([]byte(value)); err != nil {
		return fmt.Errorf("%w: %w", efs.ErrBadInput, err)
	}
	if *n = int(size); config.Size(*n) != size {
		return fmt.Errorf("%w: %s is too large", efs.ErrBadInput, value)
	}
	return nil
}
