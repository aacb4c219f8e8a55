package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func load(t *testing.T, file string, environ, args []string) (*Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(fs)
	if file != "" {
		path := filepath.Join(t.TempDir(), "efs.toml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", path}, args...)
	}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(fs, environ)
}

func TestDefaults(t *testing.T) {
	c, err := load(t, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Root != "/efs" || c.Server.Listen != ":443" || c.Server.OpsListen != "" {
		t.Errorf("root %q, listen %q, ops %q", c.Root, c.Server.Listen, c.Server.OpsListen)
	}
	if want := []string{"certificate", "basic", "token"}; !reflect.DeepEqual(c.Server.Factors, want) {
		t.Errorf("factors %v", c.Server.Factors)
	}
	if c.Limits.SlowClient != 30*time.Second || c.Limits.Header != 32<<10 || c.Limits.Body != 0 {
		t.Errorf("limits %+v", c.Limits)
	}
}

// Each source overrides the one before: file, variable, flag.
func TestPrecedence(t *testing.T) {
	file := "[server]\nlisten = '127.0.0.1:1'\nhostnames = ['a.example']\n[log]\nlevel = 'debug'\n[limits]\nbody = '2GiB'\n"
	environ := []string{"EFS_SERVER_LISTEN=127.0.0.1:2", "EFS_SERVER_HOSTNAMES=b.example, c.example", "PATH=/bin"}
	c, err := load(t, file, environ, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Listen != "127.0.0.1:2" || c.Log.Level != "debug" || c.Limits.Body != 2<<30 {
		t.Errorf("%+v", c)
	}
	if want := []string{"b.example", "c.example"}; !reflect.DeepEqual(c.Server.Hostnames, want) {
		t.Errorf("hostnames %v, want %v", c.Server.Hostnames, want)
	}
	c, err = load(t, file, environ, []string{"--listen", "127.0.0.1:3", "--hostname", "d.example"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Listen != "127.0.0.1:3" || !reflect.DeepEqual(c.Server.Hostnames, []string{"d.example"}) {
		t.Errorf("%+v", c.Server)
	}
}

// What the file sets and nobody knows is an error, a variable a warning; the
// starter key is neither.
func TestUnknown(t *testing.T) {
	if _, err := load(t, "[server]\nlistn = ':1'\n", nil, nil); err == nil || !strings.Contains(err.Error(), `"server.listn"`) {
		t.Errorf("error %v", err)
	}
	c, err := load(t, "", []string{"EFS_SERVER_PORTS=443", "EFS_STARTER_KEY=secret", "EFS_CONFIG="}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Unknown, []string{"EFS_SERVER_PORTS"}) {
		t.Errorf("unknown %v", c.Unknown)
	}
}

func TestValidate(t *testing.T) {
	for setting, environ := range map[string]string{
		"storage.index":          "EFS_STORAGE_INDEX=relative",
		"server.listen":          "EFS_SERVER_LISTEN=443",
		"server.ops_listen":      "EFS_SERVER_OPS_LISTEN=here",
		"server.tls_cert":        "EFS_SERVER_TLS_CERT=/cert.pem",
		"server.factors":         "EFS_SERVER_FACTORS=retina",
		"server.trusted_proxies": "EFS_SERVER_TRUSTED_PROXIES=10.0.0.0/99",
		"limits.uploads":         "EFS_LIMITS_UPLOADS=0",
		"limits.slow_client":     "EFS_LIMITS_SLOW_CLIENT=-1s",
		"limits.header":          "EFS_LIMITS_HEADER=1KiB",
		"log.level":              "EFS_LOG_LEVEL=loud",
		"log.format":             "EFS_LOG_FORMAT=xml",
	} {
		if _, err := load(t, "", []string{environ}, nil); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s: error %v does not name %s", environ, err, setting)
		}
	}
	if _, err := load(t, "", []string{"EFS_LIMITS_BODY=much"}, nil); err == nil {
		t.Error("a size that is none was taken")
	}
	if _, err := load(t, "", []string{"EFS_SERVER_FACTORS="}, nil); err == nil {
		t.Error("no factors at all were taken")
	}
}

// Variables that orchestrators make of a service called efs-server are no
// mistake of anybody's.
func TestServiceLinks(t *testing.T) {
	c, err := load(t, "", []string{
		"EFS_SERVER_PORT=tcp://10.0.0.1:443", "EFS_SERVER_SERVICE_HOST=10.0.0.1", "EFS_SERVER_SERVICE_PORT=443",
		"EFS_SERVER_SERVICE_PORT_HTTPS=443", "EFS_SERVER_PORT_443_TCP=tcp://10.0.0.1:443", "EFS_SERVER_PORT_443_TCP_PROTO=tcp",
		"EFS_SERVER_PORT_443_TCP_PORT=443", "EFS_SERVER_PORT_443_TCP_ADDR=10.0.0.1", "EFS_PORT=tcp://10.0.0.1:443",
	}, nil)
	if err != nil || len(c.Unknown) > 0 {
		t.Errorf("unknown %v, %v", c.Unknown, err)
	}
	if c, err = load(t, "", []string{"EFS_SERVER_PORT=443"}, nil); err != nil || len(c.Unknown) != 1 {
		t.Errorf("a port that somebody meant as a setting: unknown %v, %v", c.Unknown, err)
	}
}

func TestProxies(t *testing.T) {
	s := Listener{TrustedProxies: []string{"10.1.2.3", "fd00::/8"}}
	p, err := s.Proxies()
	if err != nil || len(p) != 2 || p[0].String() != "10.1.2.3/32" || p[1].String() != "fd00::/8" {
		t.Errorf("%v, %v", p, err)
	}
}

// Every setting has a place in Config, so that none is silently dropped.
func TestSettingsReachConfig(t *testing.T) {
	keys := map[string]bool{}
	var lists []string
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			tag := f.Tag.Get("koanf")
			switch {
			case tag == "-" || !f.IsExported():
			case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
				lists = append(lists, prefix+tag)
			case f.Type.Kind() == reflect.Struct:
				walk(prefix+tag+".", f.Type)
			default:
				keys[prefix+tag] = true
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
	for _, s := range settings {
		if !keys[s.key] {
			t.Errorf("setting %s has no field", s.key)
		}
		delete(keys, s.key)
	}
	for key := range keys {
		t.Errorf("field %s is no setting", key)
	}
	if !reflect.DeepEqual(lists, tables) {
		t.Errorf("lists of tables are %v, not %v", tables, lists)
	}
}
