package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/node"
)

// keyAction is what POST …/keys/ID/ACTION does.
type keyAction struct {
	takes access.Permissions
	do    func(x *exchange, ctx context.Context, provider, id string, o keyActionBody) (node.KeyStatus, error)
}

// keyActionBody is what such a request may say. Everything has a default.
type keyActionBody struct {
	Provider string `json:"provider"`
	Days     *int   `json:"pending_window_days"` // of schedule-deletion
	Force    bool   `json:"force"`               // of schedule-deletion: also a key that wraps keys
}

var keyActions = map[string]*keyAction{
	"rotate": {access.KMSRotate, func(x *exchange, ctx context.Context, p, id string, _ keyActionBody) (node.KeyStatus, error) {
		return x.s.node.RotateKey(ctx, p, id)
	}},
	"enable": {access.KMSAdmin, func(x *exchange, ctx context.Context, p, id string, _ keyActionBody) (node.KeyStatus, error) {
		return x.s.node.EnableKey(ctx, p, id)
	}},
	"disable": {access.KMSAdmin, func(x *exchange, ctx context.Context, p, id string, _ keyActionBody) (node.KeyStatus, error) {
		return x.s.node.DisableKey(ctx, p, id)
	}},
	"cancel-deletion": {access.KMSAdmin, func(x *exchange, ctx context.Context, p, id string, _ keyActionBody) (node.KeyStatus, error) {
		return x.s.node.CancelKeyDeletion(ctx, p, id)
	}},
	"schedule-deletion": {access.KMSAdmin, func(x *exchange, ctx context.Context, p, id string, o keyActionBody) (node.KeyStatus, error) {
		wait := x.s.node.DeletionWait()
		if o.Days != nil {
			wait = time.Duration(*o.Days) * 24 * time.Hour
		}
		return x.s.node.ScheduleKeyDeletion(ctx, p, id, wait, o.Force)
	}},
}

// onKey answers POST /api/v1/kms/keys/ID/ACTION.
func (x *exchange) onKey(t target) error {
	if err := x.noQuery(); err != nil {
		return err
	}
	var in keyActionBody
	if x.r.ContentLength != 0 {
		if err := x.readAPI(&in); err != nil {
			return err
		}
	}
	if t.action != "schedule-deletion" && (in.Days != nil || in.Force) {
		return badJSON.with("pending_window_days and force are of schedule-deletion.")
	}
	if in.Days != nil && (*in.Days < 1 || *in.Days > 30) {
		return badJSON.with("pending_window_days must be a number from 1 to 30.")
	}
	action := keyActions[t.action]
	provider, err := x.providerOf(in.Provider, t.name, action.takes)
	if err != nil {
		return err
	}
	x.note = "about " + provider + "/" + t.name + " " + t.action
	if in.Force {
		x.note += ", by force"
	}
	s, err := action.do(x, x.r.Context(), provider, t.name, in)
	if used := (*node.KeyInUseError)(nil); errors.As(err, &used) {
		return x.usedKey(used)
	}
	if err != nil {
		return keyProblem(err)
	}
	return x.sendValue(http.StatusOK, x.keyView(s))
}

// providerOf finds the KMS that has a key, and whether the caller may do p
// with it. A caller without rights on a key learns nothing, not even from
// which KMS does not answer.
func (x *exchange) providerOf(named, id string, p access.Permissions) (string, error) {
	if named != "" {
		return named, x.mayKey(p, named, id)
	}
	var candidates []string
	for _, provider := range x.s.node.Providers() {
		if x.mayKey(0, provider, id) == nil {
			candidates = append(candidates, provider)
		}
	}
	if len(candidates) == 0 {
		return "", outOfReach()
	}
	if len(candidates) > 1 {
		found, err := x.s.node.FindKey(x.r.Context(), id)
		if err != nil {
			return "", keyProblem(err)
		}
		candidates = found
	}
	switch len(candidates) {
	case 0:
		return "", outOfReach()
	case 1:
		return candidates[0], x.mayKey(p, candidates[0], id)
	}
	return "", conflict.with("Several KMSs have a key of this id: " + strings.Join(candidates, ", ") + ". Name one in provider.")
}

// keyProblem tells what became of something that was to be done with a key.
func keyProblem(err error) error {
	switch {
	case errors.Is(err, efs.ErrNotFound):
		return outOfReach()
	case errors.Is(err, efs.ErrExists):
		return exists.from(err, "There is a key of this id. Use it, or choose another id.")
	case errors.Is(err, efs.ErrBadInput):
		return badJSON.from(err, reason(err, efs.ErrBadInput))
	case errors.Is(err, efs.ErrUnsupported):
		return unsupported.from(err, reason(err, efs.ErrUnsupported))
	case errors.Is(err, efs.ErrRefused):
		return conflict.from(err, reason(err, efs.ErrRefused))
	case errors.Is(err, efs.ErrUnavailable):
		return &problem{kind: temporarilyUnavail, cause: err, retry: 5, detail: "The KMS does not answer. Try again; GET /api/v1/kms/status tells when it does."}
	}
	return writeProblem(err)
}

// reason is what an error says to whoever manages keys. Keys and ids are in
// it, which the caller has named, and no material.
func reason(err error, kind error) string {
	text := strings.TrimSpace(strings.ReplaceAll(err.Error(), kind.Error()+": ", ""))
	text = strings.TrimSuffix(text, ": "+kind.Error())
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// usedKey tells what is in the way of deleting a key. File systems that the
// caller does not know are counted and not named.
func (x *exchange) usedKey(used *node.KeyInUseError) error {
	var known []string
	for _, fs := range used.FileSystems {
		if x.mayKnow(fs) == nil {
			known = append(known, fs)
		}
	}
	of := strings.Join(known, ", ")
	switch more := len(used.FileSystems) - len(known); {
	case len(known) == 0:
		of = strconv.Itoa(more) + " buckets"
	case more > 0:
		of += " and " + strconv.Itoa(more) + " more"
	}
	return keyInUse.from(used, "The key wraps the keys of "+of+
		", which nobody could read again. Give them another key first (PUT …/encryption) and retire the epochs under this one (efsctl retire-epoch), or say force.")
}

// keyView is a key as the API shows it. Which file systems it concerns is
// told to administrators of the server, and of the rest to those who know them.
type keyView struct {
	node.KeyStatus
	Enabled bool `json:"enabled"`
}

func (x *exchange) keyView(s node.KeyStatus) keyView {
	v := keyView{KeyStatus: s, Enabled: s.State == efs.KeyEnabled}
	v.FileSystems = []string{}
	for _, fs := range s.FileSystems {
		if x.mayKnow(fs) == nil {
			v.FileSystems = append(v.FileSystems, fs)
		}
	}
	return v
}

// knownKeys describes the keys that the caller may know of, of one provider or
// all (""). The KMSs are asked for nothing else: how many keys they have, and
// which KMSs there are, costs and tells others nothing.
func (x *exchange) knownKeys(provider string) (all []node.KeyStatus, err error) {
	ctx := x.r.Context()
	if x.mayAdmin() == nil {
		return x.s.node.ListKeys(ctx, provider)
	}
	var errs []error
	for _, on := range x.s.node.KeyRights(x.who.principal()).Keys() {
		p, id, _ := strings.Cut(on, "/")
		if provider != "" && p != provider {
			continue
		}
		switch s, err := x.s.node.DescribeKey(ctx, p, id); {
		case err == nil:
			all = append(all, s)
		case !errors.Is(err, efs.ErrNotFound): // destroyed, or of a KMS that is no more
			errs = append(errs, err)
		}
	}
	return all, errors.Join(errs...)
}

// listKeys answers GET /api/v1/kms/keys: those that the caller may know of.
func (x *exchange) listKeys(target) error {
	q := x.query()
	p := q.page()
	provider, _ := q.take("provider")
	if err := q.done(); err != nil {
		return err
	}
	all, err := x.knownKeys(provider)
	if err != nil && len(all) == 0 {
		return keyProblem(err)
	}
	views := []keyView{}
	for _, s := range all {
		views = append(views, x.keyView(s))
	}
	part, next := cut(p, views, func(v *keyView) string { return v.Provider + "/" + v.ID })
	out := struct {
		Keys     []keyView `json:"keys"`
		Next     *string   `json:"next"`
		Warnings []string  `json:"warnings,omitempty"`
	}{part, next, nil}
	if err != nil && x.mayAdmin() == nil {
		out.Warnings = strings.Split(err.Error(), "\n")
	}
	return x.sendValue(http.StatusOK, out)
}

// createKey answers POST /api/v1/kms/keys. Its maker gets kms:admin on it.
func (x *exchange) createKey(target) error {
	var in struct {
		ID       string `json:"id"`
		Provider string `json:"provider"`
		efs.KeyOptions
	}
	if err := x.noQuery(); err != nil {
		return err
	}
	if err := x.readAPI(&in); err != nil {
		return err
	}
	if err := x.mayCreateKey(); err != nil {
		return err
	}
	if in.Provider == "" {
		in.Provider = efs.DefaultPolicy().Stages[0].Provider
	}
	x.note = "about " + in.Provider + "/" + in.ID
	ctx := x.r.Context()
	s, err := x.s.node.CreateKey(ctx, in.Provider, in.ID, in.KeyOptions)
	if err != nil {
		return keyProblem(err)
	}
	if err := x.s.node.OwnKey(ctx, x.who.principal(), in.Provider, in.ID); err != nil {
		return writeProblem(fmt.Errorf("key %s was made, but not granted to its maker: %w", in.ID, err))
	}
	return x.created(apiPrefix+"kms/keys/"+in.ID, x.keyView(s))
}

// getKey answers GET /api/v1/kms/keys/ID.
func (x *exchange) getKey(t target) error {
	q := x.query()
	named, _ := q.take("provider")
	if err := q.done(); err != nil {
		return err
	}
	provider, err := x.providerOf(named, t.name, 0)
	if err != nil {
		return err
	}
	s, err := x.s.node.DescribeKey(x.r.Context(), provider, t.name)
	if err != nil {
		return keyProblem(err)
	}
	return x.sendValue(http.StatusOK, x.keyView(s))
}

// kmsStatus answers GET /api/v1/kms/status. Why a KMS is not ready may name
// addresses, and is for administrators of the server.
func (x *exchange) kmsStatus(target) error {
	if err := x.noQuery(); err != nil {
		return err
	}
	if x.mayAdmin() != nil {
		if err := x.mayCreateKey(); err != nil {
			return err
		}
	}
	all, ready := x.s.node.KMSStatus(x.r.Context()), true
	for i := range all {
		ready = ready && all[i].Ready
		if x.mayAdmin() != nil {
			all[i].Error = ""
		}
	}
	return x.sendValue(http.StatusOK, struct {
		Ready     bool             `json:"ready"`
		Providers []node.KMSStatus `json:"providers"`
	}{ready, all})
}
