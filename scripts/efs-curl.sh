#!/bin/sh
# A complete client of EFS in a shell script: curl, and gpg or ssh-keygen.
#
#   export EFS_URL=https://efs.example.org EFS_USER=app1
#   export EFS_CERT=clientCert.crt EFS_CA=ca.crt
#   export EFS_GPG_KEY=app1@example.org       # a key of gpg's keyring, or
#   export EFS_SSH_KEY=~/.ssh/id_ed25519      # an OpenSSH key (.pub: ssh-agent)
#
#   efs-curl.sh put ./scan.png /patients/173/scan.png
#   efs-curl.sh get /patients/173/scan.png ./scan.png
#   efs-curl.sh ls /patients/173
#   efs-curl.sh rm /patients/173/scan.png
#   efs-curl.sh api METHOD /api/v1/PATH [BODY.json]
#
# Exit status: 0 done, and for put that is the server's confirmation of durable
# storage; 1 failed, with the server's reason on standard error; 2 usage.
set -eu
umask 077

die() { echo "efs-curl.sh: $*" >&2; exit 1; }
usage() { sed -n 's/^#   \(efs-curl.sh\)/usage: \1/p' "$0" >&2; exit 2; }

tmp=$(mktemp -d)
trap 'logout; rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# call makes a request. Credentials go through a file, since other users of the
# machine can read the arguments of a process.
call() {
	curl --silent --show-error --fail-with-body --cert "$EFS_CERT" --cacert "$EFS_CA" \
		--header "@$tmp/credentials" --dump-header "$tmp/headers" "$@"
}

# field NAME prints a string of the JSON document on standard input.
field() { sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p'; }

# text turns any text into what stands between the quotes of a JSON string. The
# messages and signatures it is used for have no quotes and no backslashes.
text() { awk '{ printf "%s\\n", $0 }'; }

# escape percent-encodes every byte of a path but its slashes.
escape() { printf %s "${1#/}" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g; s/%2f/\//g'; }

sign() {
	if [ -n "${EFS_GPG_KEY-}" ]; then
		gpg --batch --quiet --armor --local-user "$EFS_GPG_KEY" --detach-sign
	else
		ssh-keygen -q -Y sign -n efs -f "${EFS_SSH_KEY:?set EFS_GPG_KEY or EFS_SSH_KEY}"
	fi
}

# login is the handshake: hello, nonce, signed nonce, credentials.
login() {
	: >"$tmp/credentials"
	json='Content-Type: application/json'
	hello=$(call --header "$json" --data "{\"user\":\"$EFS_USER\"}" "$EFS_URL/auth/hello") || die "$hello"
	nonce=$(printf %s "$hello" | field nonce)
	message=$(printf '%b' "$(printf %s "$hello" | field message)")
	# What is signed must be a login, of this user, with this nonce.
	case $message in
	"efs-auth-v1
"*"
user: $EFS_USER
"*"
nonce: $nonce
"*) ;;
	*) die "the server asks for a signature over something that is no login: $message" ;;
	esac
	signature=$(printf %s "$message" | sign | text) || die "signing failed"
	printf '{"user":"%s","nonce":"%s","signature":"%s"}' "$EFS_USER" "$nonce" "$signature" >"$tmp/proof"
	session=$(call --header "$json" --data "@$tmp/proof" "$EFS_URL/auth/session") || die "$session"
	{
		echo "Authorization: Basic $(printf %s "$session" | field basic)"
		echo "EFS-Token: $(printf %s "$session" | field token)"
	} >"$tmp/credentials"
}

logout() {
	[ -s "$tmp/credentials" ] || return 0
	call --request DELETE --output "$tmp/answer" "$EFS_URL/auth/session" || true # it ends by itself
}

put() {
	answer=$(call --upload-file "$1" "$EFS_URL/data/$(escape "$2")") || die "$answer"
	[ "$(printf %s "$answer" | field sha256)" = "$(sha256sum <"$1" | cut -d' ' -f1)" ] ||
		die "the server stored something else; put it again"
	printf '%s\n' "$answer"
}

get() {
	part=$2.efs-part
	call --output "$part" "$EFS_URL/data/$(escape "$1")" || { cat "$part" >&2; rm -f "$part"; die "nothing was received"; }
	kept=$(tr -d '\r' <"$tmp/headers" | sed -n 's/^[Rr]epr-[Dd]igest: sha-256=:\(.*\):$/\1/p' |
		base64 -d | od -An -v -tx1 | tr -d ' \n')
	[ "$kept" = "$(sha256sum <"$part" | cut -d' ' -f1)" ] ||
		{ rm -f "$part"; die "what was received is not what is stored; get it again"; }
	mv "$part" "$2"
}

# show prints the answer to a request, or the server's reason on standard error.
show() {
	answer=$(call "$@") || die "$answer"
	[ -z "$answer" ] || printf '%s\n' "$answer"
}

case ${1-} in put | get | ls | rm | api) ;; *) usage ;; esac
: "${EFS_URL:?} ${EFS_USER:?} ${EFS_CERT:?} ${EFS_CA:?}"
case $#:${1-} in
3:put) login; put "$2" "$3" ;;
3:get) login; get "$2" "$3" ;;
2:ls) login; show "$EFS_URL/data/$(escape "${2%/}/")" ;;
2:rm) login; show --request DELETE "$EFS_URL/data/$(escape "$2")" ;;
3:api) login; show --request "$2" "$EFS_URL$3" ;;
4:api) login; show --request "$2" --header "$json" --data-binary "@$4" "$EFS_URL$3" ;;
*) usage ;;
esac
