package config

import (
	"strings"
	"testing"
)

func TestListeners(t *testing.T) {
	c, err := load(t, `
[[listener]]
address = ":443"
routes = ["data", "auth", "changes"]

[[listener]]
address = "127.0.0.1:8443"
factors = ["certificate", "token"]
trusted_proxies = ["10.0.0.0/8"]
proxy_protocol = true
tls_cert = "/c.pem"
tls_key = "/k.pem"

[[listener]]
address = "unix:/run/efs/ops.sock"
routes = ["ops"]
plain = true
`, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := c.Listeners()
	if len(l) != 3 || l[0].Address != ":443" || len(l[0].Routes) != 3 || !l[1].ProxyProtocol || l[1].TLSKey != "/k.pem" ||
		!l[2].OpsOnly() || l[2].UnixPath() != "/run/efs/ops.sock" {
		t.Errorf("%+v", l)
	}
}

// The settings in [server] are the short form of a list of one or two.
func TestShortForm(t *testing.T) {
	c, err := load(t, "", []string{"EFS_SERVER_OPS_LISTEN=127.0.0.1:9", "EFS_SERVER_TRUSTED_PROXIES=10.0.0.1"}, []string{"--listen", ":8443"})
	if err != nil {
		t.Fatal(err)
	}
	l := c.Listeners()
	if len(l) != 2 || l[0].Address != ":8443" || l[0].TrustedProxies[0] != "10.0.0.1" || len(l[0].Factors) != 3 ||
		l[1].Address != "127.0.0.1:9" || !l[1].Plain || !l[1].OpsOnly() {
		t.Errorf("%+v", l)
	}
	_, err = load(t, "[[listener]]\naddress = ':1'\n", []string{"EFS_SERVER_OPS_LISTEN=127.0.0.1:9"}, []string{"--listen", ":8443"})
	for _, want := range []string{"server.listen: the file has [[listener]]", "(from flag --listen)", "server.ops_listen: ", "(from variable EFS_SERVER_OPS_LISTEN)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("both forms: %v, want %s", err, want)
		}
	}
}

func TestListenersThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"":                               `listener 1: address ""`,
		"address = '443'":                `address "443" is none`,
		"address = ':nonsense'":          `address ":nonsense" is none`,
		"address = 'unix:run'":           "absolute path",
		"address = 'unix:/run/s'":        "plain = true",
		"address = ':1'\nplain = true":   "plain: HTTP without TLS",
		"address = ':1'\ntls_cert = 'x'": "give both or neither",
		"address = ':1'\nplain = true\nroutes = ['ops']\ntls_cert='a'\ntls_key='b'":         "are for TLS",
		"address = ':1'\nproxy_protocol = true":                                             "name the proxies",
		"address = ':1'\nplain = true\nproxy_protocol = true\ntrusted_proxies=['10.0.0.1']": "that pass TLS through",
		"address = ':1'\nclient_cert = 'maybe'":                                             `client_cert: "maybe"`,
		"address = ':1'\nclient_cert = 'none'":                                              "demand a certificate",
		"address = ':1'\nfactors = ['tokn']":                                                `did you mean "token"?`,
		"address = ':1'\ntrusted_proxies = ['here']":                                        `"here" is no address or prefix`,
		"address = ':1'\ntrusted_proxies = ['0.0.0.0/0']":                                   `is everybody`,
		"address = ':1'\n[[listener]]\naddress = ':1'":                                      `listener 2: address ":1" is that of listener 1`,
	} {
		if _, err := load(t, "[[listener]]\n"+text+"\n", nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
