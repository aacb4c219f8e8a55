package starter

import (
	"bytes"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

func split(t *testing.T, k *secret.Key, root efs.ID, generation uint32, total, threshold int) []string {
	t.Helper()
	texts, err := Split(k, root, generation, total, threshold)
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{}
	for _, text := range texts {
		lines = append(lines, string(text))
	}
	return lines
}

func combine(t *testing.T, texts ...string) (*secret.Key, error) {
	t.Helper()
	var shares []*Share
	for _, text := range texts {
		s, err := ParseShare([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Destroy()
		shares = append(shares, s)
	}
	return Combine(shares)
}

// Every choice of as many shares as are needed gives the key.
func TestAnyThresholdOfSharesGivesTheKey(t *testing.T) {
	k := newKey(t)
	texts := split(t, k, efs.NewID(), 1, 5, 3)
	for i := range texts {
		for j := range i {
			for l := range j {
				got, err := combine(t, texts[i], texts[l], texts[j])
				if err != nil || !got.Equal(k) {
					t.Errorf("shares %d, %d, %d: another key (%v)", i+1, j+1, l+1, err)
				}
			}
		}
	}
}

// A key of which every bit is set, and one of none, are shared like others.
func TestSharesOfExtremeKeys(t *testing.T) {
	for _, fill := range []byte{0, 0xff} {
		k, err := secret.NewKey(bytes.Repeat([]byte{fill}, secret.Size))
		if err != nil {
			t.Fatal(err)
		}
		texts := split(t, k, efs.NewID(), 1, 2, 2)
		if got, err := combine(t, texts...); err != nil || !got.Equal(k) {
			t.Errorf("%x: another key (%v)", fill, err)
		}
	}
}

// The text form is fixed: these shares were made by this format's first
// version. They are of the key 00 01 … 1f.
func TestSharesOfTheFirstVersion(t *testing.T) {
	want := make([]byte, secret.Size)
	for i := range want {
		want[i] = byte(i)
	}
	for _, texts := range [][]string{sharesV1[:2], sharesV1[1:], {sharesV1[2], sharesV1[0]}} {
		got, err := combine(t, texts...)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.With(func(b []byte) {
			if !bytes.Equal(b, want) {
				t.Errorf("the key is %s", hex.EncodeToString(b))
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	for _, n := range [][2]int{{5, 1}, {3, 5}, {MaxShares + 1, 3}, {0, 0}, {-1, 2}} {
		_, err := Split(newKey(t), efs.NewID(), 1, n[0], n[1])
		wantError(t, "shares", err, efs.ErrBadInput)
	}
}

func TestParseShareForgivesTheForm(t *testing.T) {
	text := split(t, newKey(t), efs.NewID(), 1, 2, 2)[0]
	for what, s := range map[string]string{
		"as printed":     text,
		"upper case":     strings.ToUpper(text),
		"without dashes": sharePrefix + strings.ReplaceAll(text[len(sharePrefix):], "-", ""),
		"with spaces":    " " + strings.ReplaceAll(text, "-", " ") + "\r\n",
	} {
		if s, err := ParseShare([]byte(s)); err != nil || s.Number != 1 || s.Threshold != 2 {
			t.Errorf("%s: %v", what, err)
		}
	}
	swapped := []byte(text)
	i := len(sharePrefix) + 100
	for swapped[i] == swapped[i+1] || swapped[i] == '-' || swapped[i+1] == '-' {
		i++
	}
	swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
	for what, s := range map[string]string{
		"two letters exchanged": string(swapped),
		"a letter left out":     text[:40] + text[41:],
		"a key":                 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"another version":       strings.Replace(text, "share1", "share2", 1),
		"nothing":               "",
		"the prefix alone":      sharePrefix,
	} {
		if _, err := ParseShare([]byte(s)); err == nil || strings.Contains(err.Error(), text[len(sharePrefix)+9:][:8]) {
			t.Errorf("%s: %v", what, err)
		} else {
			wantError(t, what, err, efs.ErrBadInput)
		}
	}
}

// A share that does not belong to the others is refused; those before it stay.
func TestGatheringKeepsItsProgress(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "efs", ".server")
	k, root := newKey(t), efs.NewID()
	b, err := CreateBoxAs(dir, root, again(t, k), nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	texts := split(t, k, root, 1, 5, 3)
	other := split(t, newKey(t), root, 1, 5, 3) // of a key that never came into force
	g := NewGathering(dir)
	add := func(what, text string, have int, want error) *secret.Key {
		t.Helper()
		got, _, key, err := g.Add([]byte(text))
		if want == nil && err != nil || got != have {
			t.Fatalf("%s: %d shares, %v", what, got, err)
		}
		wantError(t, what, err, want)
		return key
	}
	add("garbage first", "efs-share1-abc", 0, efs.ErrBadInput)
	add("the first", texts[4], 1, nil)
	add("the same again", texts[4], 1, efs.ErrBadInput)
	add("of another root", split(t, k, efs.NewID(), 1, 5, 3)[0], 1, efs.ErrWrongKey)
	add("of a later key", split(t, k, root, 2, 5, 3)[0], 1, efs.ErrWrongKey)
	add("of another set", other[0], 1, efs.ErrConflict)
	add("garbage", texts[1][:50], 1, efs.ErrBadInput)
	add("the second", texts[0], 2, nil)
	if key := add("the third", texts[2], 3, nil); key == nil || !key.Equal(k) {
		t.Error("another key came out")
	}
	if g.Have() != 0 {
		t.Error("the shares are still there")
	}
	for i, text := range other[:3] {
		want := error(nil)
		if i == 2 {
			want = efs.ErrWrongKey
		}
		add("a key that never came into force", text, i+1, want)
	}
	add("after a reset", texts[1], 1, nil)
}

// sharesV1 are three shares of which two are needed.
var sharesV1 = []string{
	"efs-share1-aegq4dyq-cejegfev-cylrqgi2-dmoaaaaa-afodf2sp-aiarnfj2-hkrwubuy-akke6g5s-xfndnmgh-wscb6pae-ftousabb-juec4cfg-3fqc6qvg-p6gakipl-qpwmp7wi-jam6kgvi-ve554j32-rcoqh6k5-bpvrpvjr",
	"efs-share1-aegq4dyq-cejegfev-cylrqgi2-dmoaaaaa-afodf2sp-aibdasds-bmqwr4op-e6c2fd4c-o7kvoyep-neet66ai-lc5jgacc-tiifyaca-ygxoktwp-2oub3d6j-kdtygdln-sezmunkq-kn33yt7u-ca5qp4v3-a37tkndk",
	"efs-share1-aegq4dyq-cejegfev-cylrqgi2-dmoaaaaa-afodf2sp-aibtpt47-hg44r3s7-emj63jrr-f4xy4ecx-d2hf5nam-qsl52add-44miucg2-vd6jww7y-e7ctl7nh-dxrd6har-3jf26uhy-7szju53o-thmav2yz-akap34rw",
}
