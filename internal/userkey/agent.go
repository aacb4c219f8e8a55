package userkey

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/efs-project/efs"
)

// agentPatience is how long an agent may take: some ask their user first.
const agentPatience = 2 * time.Minute

// AgentSigner signs through ssh-agent (SSH_AUTH_SOCK) with the key pub; nil
// means the one ssh-ed25519 key in the agent. The agent is asked anew for each
// signature. efs.ErrNotFound says that there is no agent or not that key in
// it; efs.ErrBadInput that nil leaves a choice.
func AgentSigner(pub *Public) (Signer, error) {
	if pub != nil && pub.plain == nil {
		return nil, bad("ssh-agent: cannot sign with an OpenPGP key; give its private key file instead")
	}
	keys, done, err := agentKeys()
	if err != nil {
		return nil, err
	}
	defer done()
	var found []ssh.PublicKey
	var names []string
	for _, k := range keys {
		key := k.PublicKey()
		if key.Type() != ssh.KeyAlgoED25519 {
			continue
		}
		if pub == nil || bytes.Equal(pub.sshBlob(), key.Marshal()) {
			found = append(found, key)
			names = append(names, ssh.FingerprintSHA256(key))
		}
	}
	switch {
	case len(found) == 0 && pub != nil:
		return nil, fmt.Errorf("ssh-agent: key %s: %w; ssh-add adds it", pub.Fingerprint(), efs.ErrNotFound)
	case len(found) == 0:
		return nil, fmt.Errorf("ssh-agent: ssh-ed25519 key: %w; ssh-add adds one", efs.ErrNotFound)
	case len(found) > 1:
		return nil, bad("ssh-agent: several ssh-ed25519 keys (%s); say which by giving its .pub file", strings.Join(names, ", "))
	}
	chosen, err := newSSH(found[0], bytes.TrimSpace(ssh.MarshalAuthorizedKey(found[0])))
	if err != nil {
		return nil, err
	}
	return &sshSigner{pub: chosen, sign: func() (ssh.Signer, func(), error) { return agentKey(chosen) }}, nil
}

func agentKeys() ([]ssh.Signer, func(), error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, nil, fmt.Errorf("ssh-agent %w: SSH_AUTH_SOCK is not set; start one with eval $(ssh-agent)", efs.ErrNotFound)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("ssh-agent %w: nothing answers at SSH_AUTH_SOCK", efs.ErrNotFound)
	}
	done := func() { conn.Close() }
	if err := conn.SetDeadline(time.Now().Add(agentPatience)); err != nil {
		done()
		return nil, nil, fmt.Errorf("ssh-agent: %w", err)
	}
	keys, err := agent.NewClient(conn).Signers()
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("ssh-agent: listing its keys: %w", err)
	}
	return keys, done, nil
}

func agentKey(pub *Public) (ssh.Signer, func(), error) {
	keys, done, err := agentKeys()
	if err != nil {
		return nil, nil, err
	}
	for _, k := range keys {
		if bytes.Equal(k.PublicKey().Marshal(), pub.sshBlob()) {
			return k, done, nil
		}
	}
	done()
	return nil, nil, fmt.Errorf("ssh-agent: key %s: %w any more", pub.Fingerprint(), efs.ErrNotFound)
}

// sshBlob returns the SSH wire form of a plain key.
func (p *Public) sshBlob() []byte {
	key, err := ssh.NewPublicKey(p.plain)
	if err != nil {
		return nil
	}
	return key.Marshal()
}
