// Package config reads the settings of the server: built-in defaults, then a
// TOML file, then the environment, then command-line flags, each overriding
// the one before.
//
// A setting SECTION.KEY is read from [SECTION] KEY in the file and from the
// variable EFS_SECTION_KEY; lists in variables are separated by commas. What
// the file sets and nobody knows is an error, since a misspelled setting is
// one that silently does not hold; unknown EFS_ variables are only reported,
// and not even that if they are service links, which orchestrators inject
// (EFS_SERVER_PORT=tcp://…). Lists of tables ([[listener]], [[kms.provider]])
// stand in the file alone.
//
// The starter key is no setting and never passes through here.
package config

import (
	"time"

	"github.com/knadh/koanf/v2"
)

// Config is everything that can be set.
type Config struct {
	Root     string     `koanf:"root"`
	Server   Server     `koanf:"server"`
	Listener []Listener `koanf:"listener"`
	Storage  Storage    `koanf:"storage"`
	Starter  Starter    `koanf:"starter"`
	KMS      KMS        `koanf:"kms"`
	Limits   Limits     `koanf:"limits"`
	Cache    Cache      `koanf:"cache"`
	Audit    Audit      `koanf:"audit"`
	Journal  Journal    `koanf:"journal"`
	Tracing  Tracing    `koanf:"tracing"`
	Log      Log        `koanf:"log"`

	File    string            `koanf:"-"` // the configuration file; "" for none
	Sources map[string]string `koanf:"-"` // where each setting came from: SourceDefault, "file …", "variable …", "flag …"
	Unknown []string          `koanf:"-"` // EFS_ variables that name no setting, for a warning

	raw *koanf.Koanf // the settings as they were written
}

// SourceDefault is the source of what nobody set.
const SourceDefault = "default"

// Server is where and how requests are taken.
type Server struct {
	Listen         string   `koanf:"listen"`          // HTTPS address, host:port
	OpsListen      string   `koanf:"ops_listen"`      // plain HTTP address for health and metrics; "" for none
	Hostnames      []string `koanf:"hostnames"`       // names and addresses in the server's own certificate, besides the usual
	TLSCert        string   `koanf:"tls_cert"`        // PEM certificate chain given instead of the server's own
	TLSKey         string   `koanf:"tls_key"`         // PEM key for it
	Factors        []string `koanf:"factors"`         // what a request must carry: certificate, basic, token
	TrustedProxies []string `koanf:"trusted_proxies"` // addresses or prefixes whose Client-Cert and PROXY headers count
	ProxyProtocol  bool     `koanf:"proxy_protocol"`  // trusted proxies send the PROXY protocol
}

// Storage moves parts of the root to volumes of their own. Empty: under root.
type Storage struct {
	System string `koanf:"system"` // holds NAME/system
	Keys   string `koanf:"keys"`   // holds keys.db
	Index  string `koanf:"index"`  // holds NAME/index.db
	Files  string `koanf:"files"`  // holds NAME/files
}

// Starter tells where the starter key comes from, besides EFS_STARTER_KEY.
type Starter struct {
	KeyFile string `koanf:"key_file"` // file with the base64 starter key
	Keyring string `koanf:"keyring"`  // description of a key in the Linux keyring
	Prompt  bool   `koanf:"prompt"`   // ask for a passphrase on the terminal
	KMS     string `koanf:"kms"`      // PROVIDER/KEY of the KMS that wraps the starter key
}

// Limits bound what one request, one client or all of them may use.
type Limits struct {
	Body        Size          `koanf:"body"`         // largest body of a store; 0: none
	Uploads     int           `koanf:"uploads"`      // stores under way at once
	Requests    int           `koanf:"requests"`     // requests under way at once
	Connections int           `koanf:"connections"`  // connections open at once
	Header      Size          `koanf:"header"`       // request line and headers
	SlowClient  time.Duration `koanf:"slow_client"`  // a client that makes no progress for so long is cut off
	IdleTimeout time.Duration `koanf:"idle_timeout"` // an idle connection is closed after so long
	Shutdown    time.Duration `koanf:"shutdown"`     // how long a stopping server waits for requests under way
}

// Cache bounds the decrypted files that are kept; package contentcache says
// how they are.
type Cache struct {
	Size    Size          `koanf:"size"`
	Where   string        `koanf:"where"` // "memory" or a directory on a tmpfs
	TTL     time.Duration `koanf:"ttl"`
	MaxFile Size          `koanf:"max_file"`
	Force   bool          `koanf:"force"` // take a directory that is no tmpfs
}

// Audit is where the audit log lies and how long it is kept.
type Audit struct {
	Enabled bool          `koanf:"enabled"`
	Dir     string        `koanf:"dir"`      // "": ROOT/.server/audit
	MaxSize Size          `koanf:"max_size"` // of one of its files
	Keep    time.Duration `koanf:"keep"`     // 0: for ever
	Sinks   []string      `koanf:"sinks"`    // where its newest head is kept besides
}

// Journal says whether the journal of each file system is kept.
type Journal struct {
	Enabled  bool          `koanf:"enabled"`
	Interval time.Duration `koanf:"interval"` // between two checkpoints, at most
}

// Tracing is where traces are sent.
type Tracing struct {
	Endpoint    string  `koanf:"endpoint"`     // base URL of an OTLP/HTTP receiver; "": nowhere
	SampleRatio float64 `koanf:"sample_ratio"` // part of the traces that is kept, 0 to 1
}

// Log is how and how much is logged.
type Log struct {
	Level  string `koanf:"level"`  // debug, info, warn, error
	Format string `koanf:"format"` // text or json
}
