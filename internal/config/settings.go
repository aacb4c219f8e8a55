package config

// setting is one line of the table that defaults, file, variables, flags, the
// printed file and the documentation are all made from.
type setting struct {
	key   string // SECTION.KEY
	flag  string // "" for none
	value any    // default: string, bool, int, float64 or []string
	live  bool   // a reload applies it; others need a restart
	help  string // one line or a few, for people
}

// sections are the parts of the file, in order, with what they are about.
var sections = []struct{ name, help string }{
	{"", ""},
	{"server", "Where and how requests are taken: the short form of [[listener]], for one HTTPS address and perhaps one for health and metrics."},
	{"storage", "Parts of the root on volumes of their own. Each directory must exist; empty: under root."},
	{"starter", "Where the starter key comes from, besides the variable EFS_STARTER_KEY."},
	{"kms", "What wraps the keys. The provider \"local\" is always there."},
	{"limits", "What one request, one client or all of them may use."},
	{"cache", "Decrypted files in memory, for those that are read again and again. Off as long as size is 0."},
	{"audit", "The log of who did what."},
	{"journal", "What an index can be made from again, beside the contents of each file system."},
	{"tracing", "Where traces of requests are sent. They hold ids and durations, no names."},
	{"log", "How and how much is logged."},
}

var settings = []setting{
	{"root", "root", "/efs", false, "directory that holds everything"},

	{"server.listen", "listen", ":443", false, "address for HTTPS, host:port"},
	{"server.ops_listen", "ops-listen", "", false, "address for health and metrics in plain HTTP; empty: none. Keep it inside"},
	{"server.hostnames", "hostname", []string{}, false, "names and addresses to add to the server's own certificate (flag: repeatable)"},
	{"server.tls_cert", "tls-cert", "", false, "PEM certificate chain to use instead of the server's own"},
	{"server.tls_key", "tls-key", "", false, "PEM key of that certificate"},
	{"server.factors", "factors", []string{"certificate", "basic", "token"}, false, "what each request must carry"},
	{"server.trusted_proxies", "trusted-proxy", []string{}, false, "addresses or prefixes of proxies whose Client-Cert header (RFC 9440) counts (flag: repeatable)"},
	{"server.proxy_protocol", "proxy-protocol", false, false, "those proxies pass TCP through with the PROXY protocol instead"},

	{"storage.system", "", "", false, "holds NAME/system"},
	{"storage.keys", "", "", false, "holds keys.db; never on a network file system"},
	{"storage.index", "", "", false, "holds NAME/index.db; never on a network file system"},
	{"storage.files", "", "", false, "holds NAME/files"},

	{"starter.key_file", "starter-key-file", "", false, "file that holds the base64 starter key"},
	{"starter.keyring", "starter-keyring", "", false, "description of a key in the Linux keyring that holds the starter key"},
	{"starter.prompt", "starter-prompt", false, false, "ask for the starter passphrase on the terminal"},
	{"starter.kms", "", "", false, "PROVIDER/KEY, a key of a KMS that wraps the starter key"},

	{"kms.key_ttl", "", "5m", false, "hard lifetime of an unwrapped key; in use it is unwrapped again at half of it"},
	{"kms.outage_grace", "", "0s", false, "how much longer it lives while its KMS does not answer. A KMS that refuses ends it at once"},
	{"kms.timeout", "", "10s", false, "of one call to a KMS"},
	{"kms.deletion_wait", "", "7d", false, "between the scheduling of a master key's deletion and the deletion, where no other wait is named"},

	{"limits.body", "", "0", true, "largest file that is taken; 0: no bound"},
	{"limits.uploads", "", 256, true, "large uploads under way at once"},
	{"limits.requests", "", 2048, true, "requests under way at once, watched change feeds among them; of one user at most half"},
	{"limits.connections", "", 2048, true, "connections open at once, of one user at most half; each takes some 20 KiB"},
	{"limits.header", "", "32KiB", false, "request line and headers"},
	{"limits.slow_client", "", "30s", true, "a client that makes no progress for so long is cut off"},
	{"limits.idle_timeout", "", "2m", false, "a kept connection without a request is closed after so long"},
	{"limits.shutdown", "", "30s", true, "what a stopping server gives requests under way"},

	{"cache.size", "", "0", false, "bytes of decrypted files held at most; 0: none are"},
	{"cache.where", "", "memory", false, "\"memory\": locked, in no core dump; or a directory on a tmpfs that is nobody else's"},
	{"cache.ttl", "", "10m", false, "a file is dropped so long after it came"},
	{"cache.max_file", "", "1MiB", false, "larger files are not held"},
	{"cache.force", "", false, false, "take a directory that is no tmpfs all the same: plaintext may reach a disk"},

	{"audit.enabled", "", true, false, "record who did what"},
	{"audit.dir", "", "", false, "directory of the log; empty: ROOT/.server/audit"},
	{"audit.max_size", "", "64MiB", false, "size of a file of it, before the next one is begun"},
	{"audit.keep", "", "0s", true, "how long it is kept; 0: for ever"},
	{"audit.sinks", "", []string{}, false, "where its newest head is kept besides: file:/PATH, syslog, syslog:udp://HOST:PORT, kms:PROVIDER"},

	{"journal.enabled", "", true, false, "keep checkpoints of the index and what was committed since, for efsctl rebuild-index and efs-recover"},
	{"journal.interval", "", "1d", false, "longest time between two checkpoints; what was deleted is in older ones until then"},

	{"tracing.endpoint", "", "", false, "base URL of an OTLP/HTTP receiver, such as http://127.0.0.1:4318; empty: that of OTEL_EXPORTER_OTLP_ENDPOINT, else no traces"},
	{"tracing.sample_ratio", "", 1.0, false, "part of the traces that is kept, 0 to 1. Traces that users' own traceparent headers begin are kept as these say"},

	{"log.level", "log-level", "info", true, "debug, info, warn or error"},
	{"log.format", "log-format", "text", false, "text or json"},
}

// tables are the settings that are lists of tables; they stand in the file
// alone.
var tables = []string{"listener", "kms.provider"}
