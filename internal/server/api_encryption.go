package server

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/fsys"
)

// encryptionView is the policy of a file system as the API shows it. The first
// stage stands where those look who know one only.
type encryptionView struct {
	Enabled   bool              `json:"enabled"` // always: nothing is stored in clear
	Algorithm string            `json:"algorithm"`
	KeyID     string            `json:"kms_key_id"`
	Provider  string            `json:"provider"`
	Stages    []efs.StagePolicy `json:"stages"`
	Version   int               `json:"version"`
	Recovery  string            `json:"recovery_recipient,omitempty"` // public key that the keys are sealed to as well
}

func viewPolicy(p efs.Policy) encryptionView {
	first := p.Stages[0]
	return encryptionView{true, first.Algorithm, first.KeyID, first.Provider, p.Stages, p.Version, p.Recovery}
}

// encryptionBody is what PUT …/encryption sets: one stage by the first three
// fields, or any number by stages.
type encryptionBody struct {
	Enabled   *bool             `json:"enabled"`
	Algorithm string            `json:"algorithm"`
	KeyID     string            `json:"kms_key_id"`
	Provider  string            `json:"provider"`
	Stages    []efs.StagePolicy `json:"stages"`
}

// getEncryption answers GET /api/v1/buckets/B/encryption.
func (x *exchange) getEncryption(t target) error {
	if err := x.noQuery(); err != nil {
		return err
	}
	f, err := x.knownFS(t.fs)
	if err != nil {
		return err
	}
	return x.sendValue(http.StatusOK, viewPolicy(f.Policy()))
}

// putEncryption answers PUT /api/v1/buckets/B/encryption: what is stored from
// now on is sealed so; what is there stays as it is, and readable.
func (x *exchange) putEncryption(t target) error {
	if err := x.noQuery(); err != nil {
		return err
	}
	f, err := x.managedFS(t.fs)
	if err != nil {
		return err
	}
	var in encryptionBody
	if err := x.readAPI(&in); err != nil {
		return err
	}
	stages, err := x.stages(&in)
	if err != nil {
		return err
	}
	return x.setStages(f.FS, stages)
}

// deleteEncryption answers DELETE …/encryption: back to the default.
func (x *exchange) deleteEncryption(t target) error {
	if err := x.noQuery(); err != nil {
		return err
	}
	f, err := x.managedFS(t.fs)
	if err != nil {
		return err
	}
	return x.setStages(f.FS, efs.DefaultPolicy().Stages)
}

// stages reads the stages of a body, each of whose keys the caller may use.
func (x *exchange) stages(in *encryptionBody) ([]efs.StagePolicy, error) {
	switch {
	case in.Enabled == nil:
		return nil, badJSON.with(`Send "enabled": true, and the algorithm and key to use.`)
	case !*in.Enabled:
		return nil, neverInClear.with("Encryption cannot be switched off: everything that EFS stores is sealed, names included. " +
			"Choose an algorithm and a key, or DELETE this to go back to the default.")
	case len(in.Stages) > 0 && (in.Algorithm != "" || in.KeyID != "" || in.Provider != ""):
		return nil, badJSON.with("Send either stages, or algorithm, kms_key_id and provider of a single one.")
	case len(in.Stages) == 0:
		in.Stages = []efs.StagePolicy{{Algorithm: in.Algorithm, Provider: in.Provider, KeyID: in.KeyID}}
	}
	d := efs.DefaultPolicy().Stages[0]
	for i := range in.Stages {
		st := &in.Stages[i]
		if st.Algorithm == "" {
			st.Algorithm = d.Algorithm
		}
		if st.KeyID == "" {
			st.KeyID = d.KeyID
		}
		if st.Provider == "" && st.KeyID == d.KeyID {
			st.Provider = d.Provider
		}
		if err := x.findStageKey(st); err != nil {
			return nil, err
		}
	}
	return in.Stages, nil
}

// findStageKey finds the KMS of a stage that names none.
func (x *exchange) findStageKey(st *efs.StagePolicy) error {
	if provider, key, ok := strings.Cut(st.KeyID, "/"); ok && st.Provider == "" && slices.Contains(x.s.node.Providers(), provider) {
		st.Provider, st.KeyID = provider, key // PROVIDER/KEY, as everywhere else; ids of some providers hold slashes themselves
	}
	if st.Provider != "" {
		return keyForPolicy(x.mayUseKey(st.Provider, st.KeyID))
	}
	var usable []string // without asking any KMS about what is out of reach
	for _, provider := range x.s.node.Providers() {
		if x.mayUseKey(provider, st.KeyID) == nil {
			usable = append(usable, provider)
		}
	}
	if len(usable) > 1 {
		found, err := x.s.node.FindKey(x.r.Context(), st.KeyID)
		if err != nil {
			return keyProblem(err)
		}
		usable = slices.DeleteFunc(usable, func(p string) bool { return !slices.Contains(found, p) })
	}
	switch len(usable) {
	case 0:
		return keyForPolicy(outOfReach())
	case 1:
		st.Provider = usable[0]
		return nil
	}
	return conflict.with("Several KMSs have a key of this id. Name one in provider.")
}

// keyForPolicy says of a key that is out of reach that it is the key, and not
// the bucket.
func keyForPolicy(err error) error {
	var p *problem
	if errors.As(err, &p) && p.kind == notFound {
		return badJSON.with("There is no key of this id that you may use. POST /api/v1/kms/keys makes one; efsctl grant gives kms:use on one that is there.")
	}
	return err
}

// setStages makes stages the file system's policy and answers with it.
func (x *exchange) setStages(f *fsys.FS, stages []efs.StagePolicy) error {
	for _, st := range stages {
		x.note = strings.TrimPrefix(x.note+", "+st.Algorithm+" under "+st.Provider+"/"+st.KeyID, ", ")
	}
	p := f.Policy()
	p.Stages = stages
	p, err := f.SetPolicy(x.r.Context(), fsys.Who{User: x.who.principal().String()}, p)
	switch {
	case errors.Is(err, efs.ErrBadInput), errors.Is(err, efs.ErrNotFound):
		return badJSON.from(err, "The algorithm must be AES256 or CHACHA20_POLY1305, and the key one that its KMS has. Nothing was changed.")
	case errors.Is(err, efs.ErrRefused):
		return conflict.from(err, "The KMS does not let this key be used: is it enabled? Nothing was changed.")
	case err != nil:
		return keyProblem(err)
	}
	if x.r.Method == http.MethodDelete {
		return x.noContent()
	}
	return x.sendValue(http.StatusOK, viewPolicy(p))
}
