#!/bin/sh
# Makes hs256.jwt and rs512.jwt anew: tokens that are right in everything but their algorithm.
set -eu
cd "$(dirname "$0")"
b64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
claims='{"v":2,"sub":"user_ada","sid":"sess_1","iss":"https://issuer.test","azp":"https://app.test","iat":1795262400,"nbf":1795262400,"exp":1795266000}'
body() { printf '%s.%s' "$(printf '{"alg":"%s","typ":"JWT","kid":"any"}' "$1" | b64url)" "$(printf '%s' "$claims" | b64url)"; }
key=$(od -An -v -tx1 session.pub.pem | tr -d ' \n')
printf '%s.%s' "$(body HS256)" "$(body HS256 | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | b64url)" > hs256.jwt
printf '%s.%s' "$(body RS512)" "$(body RS512 | openssl dgst -sha512 -sign session.pem -binary | b64url)" > rs512.jwt
