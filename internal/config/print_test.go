package config

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of settings into docs/configuration.md")

func printed(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := PrintDefaults(&b, map[string][]string{"vault": {"address", "mount"}}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// same compares what was set, not where.
func same(t *testing.T, got, want *Config) {
	t.Helper()
	a, b := *got, *want
	for _, c := range []*Config{&a, &b} {
		c.File, c.Sources, c.raw = "", nil, nil
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%+v\nis not\n%+v", a, b)
	}
}

// The printed file sets nothing, and with its comments taken away the same.
func TestPrintedDefaults(t *testing.T) {
	defaults, err := load(t, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := printed(t)
	as, err := load(t, text, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, as, defaults)
	for key, from := range as.Sources {
		if from != SourceDefault {
			t.Errorf("the printed file sets %s", key)
		}
	}
	uncommented := regexp.MustCompile(`(?m)^#([a-z_]+ = )`).ReplaceAllString(text, "$1")
	set, err := load(t, uncommented, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, set, defaults)
	for _, s := range settings {
		if set.Sources[s.key] == SourceDefault {
			t.Errorf("%s is not in the printed file", s.key)
		}
		if s.help == "" || !strings.Contains(text, Variable(s.key)) {
			t.Errorf("%s is not explained", s.key)
		}
	}
}

// What is in force, written down, is in force again.
func TestPrintedEffective(t *testing.T) {
	const list = "[[listener]]\naddress = ':1'\nroutes = ['data']\n[[listener]]\naddress = ':2'\n" +
		"[[kms.provider]]\nname = 'v'\ntype = 'vault'\naddress = 'https://v:8200'\nretries = 3\n"
	for name, c := range map[string]struct {
		file         string
		environ, arg []string
	}{
		"defaults": {},
		"all ways": {"[log]\nlevel = 'debug'\n", []string{"EFS_LIMITS_UPLOADS=7", "EFS_STARTER_PROMPT=true", "EFS_SERVER_HOSTNAMES=a,b"}, []string{"--listen", ":9"}},
		"lists":    {list, nil, nil},
	} {
		want, err := load(t, c.file, c.environ, c.arg)
		if err != nil {
			t.Fatal(name, err)
		}
		var b bytes.Buffer
		if err := want.PrintEffective(&b); err != nil {
			t.Fatal(err)
		}
		got, err := load(t, b.String(), nil, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, b.String())
		}
		same(t, got, want)
		if name == "all ways" {
			for _, line := range []string{`listen = ":9" +# flag --listen`, `uploads = 7 +# variable EFS_LIMITS_UPLOADS`, `level = "debug" +# file /`, `requests = 2048 +# default`} {
				if !regexp.MustCompile(line).MatchString(b.String()) {
					t.Errorf("no line %s in\n%s", line, b.String())
				}
			}
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	c, err := load(t, "[[kms.provider]]\nname='v'\ntype='vault'\ntoken='canary-1'\npin='canary-2'\nsecret_id='canary-3'\ntoken_file='/shown'\n", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.PrintEffective(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "canary") || !strings.Contains(b.String(), "/shown") {
		t.Error(b.String())
	}
}

// The table in the documentation is the one that the program reads.
func TestDocs(t *testing.T) {
	const file, begin, end = "../../docs/configuration.md", "<!-- settings -->\n", "<!-- end of settings -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the settings", file)
	}
	table := Markdown()
	if old == table {
		return
	}
	if !*update {
		t.Fatalf("%s is behind the settings: go test ./internal/config -run Docs -update", file)
	}
	if err := os.WriteFile(file, []byte(before+begin+table+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
