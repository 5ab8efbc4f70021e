package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"
)

// Key is a signing key: what a secret comes to on one date, in one region, for
// one service.
type Key [sha256.Size]byte

// DeriveKey returns the signing key of a secret for a scope.
func DeriveKey(secret, date, region, service string) Key {
	var room [128]byte
	var k Key = mac(append(append(room[:0], "AWS4"...), secret...), []byte(date))
	k = mac(k[:], []byte(region))
	k = mac(k[:], []byte(service))
	return mac(k[:], []byte(terminator))
}

// mac is HMAC-SHA256 (RFC 2104). Unlike crypto/hmac it allocates nothing, which
// makes the five of a request take half the time.
func mac(key, message []byte) [sha256.Size]byte {
	var pad [sha256.BlockSize]byte
	if len(key) > len(pad) {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	copy(pad[:], key)
	for i := range pad {
		pad[i] ^= 0x36
	}
	var room [sha256.BlockSize + 512]byte
	inner := sha256.Sum256(append(append(room[:0], pad[:]...), message...))
	for i := range pad {
		pad[i] ^= 0x36 ^ 0x5c
	}
	return sha256.Sum256(append(append(room[:0], pad[:]...), inner[:]...))
}

// sign returns the signature of a string in lower-case hex.
func (k *Key) sign(stringToSign []byte) [64]byte {
	sum := mac(k[:], stringToSign)
	var out [64]byte
	hex.Encode(out[:], sum[:])
	return out
}

// maxKeys bounds the keys that a Verifier remembers. One is 200 bytes with its
// name; when there are more, all are forgotten, which costs each a derivation.
const maxKeys = 1024

// Verifier verifies requests as Auth.Verify does and remembers signing keys,
// which saves most of the time. Its zero value is ready; its methods may be
// called concurrently.
type Verifier struct {
	mu   sync.RWMutex
	keys map[scopedSecret]Key
}

type scopedSecret struct{ secret, date, region, service string }

// remember keeps a key that has verified a request. Others are not kept, so
// that nobody without a secret can fill the memory.
func (v *Verifier) remember(id scopedSecret, k Key) {
	id = scopedSecret{strings.Clone(id.secret), strings.Clone(id.date), strings.Clone(id.region), strings.Clone(id.service)}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys == nil || len(v.keys) >= maxKeys {
		v.keys = make(map[scopedSecret]Key)
	}
	v.keys[id] = k
}

// Verify is Auth.Verify.
func (v *Verifier) Verify(a Auth, r Request, secret string, now time.Time) error {
	if a.V2 {
		return a.verifyV2(r, secret, now)
	}
	id := scopedSecret{secret, a.Date, a.Region, a.Service}
	v.mu.RLock()
	k, ok := v.keys[id]
	v.mu.RUnlock()
	if !ok {
		k = DeriveKey(secret, a.Date, a.Region, a.Service)
	}
	err := a.verify(r, &k, now)
	if err == nil && !ok {
		v.remember(id, k)
	}
	return err
}

// Verify returns nil if the request was signed with the secret, every x-amz-
// header of it being signed, and is neither too old nor too new. The caller
// calls CheckScope too. Errors are *Error of the reasons TimeTooSkewed,
// Expired, NotYetValid, UnsignedHeaders and SignatureMismatch.
func (a Auth) Verify(r Request, secret string, now time.Time) error {
	if a.V2 {
		return a.verifyV2(r, secret, now)
	}
	k := DeriveKey(secret, a.Date, a.Region, a.Service)
	return a.verify(r, &k, now)
}

func (a *Auth) verify(r Request, k *Key, now time.Time) error {
	if err := a.checkTime(now); err != nil {
		return err
	}
	if err := a.checkSigned(r.Header); err != nil {
		return err
	}
	err := a.compare(r, k, reading{})
	if err == nil {
		return nil
	}
	// An escaped slash names the same key as a slash, and clients differ on how
	// to sign it. Those of MinIO do not sort the values of a parameter that is given
	// several times.
	if (strings.Contains(r.Path, "%2F") || strings.Contains(r.Path, "%2f")) && a.compare(r, k, reading{slashes: true}) == nil ||
		strings.Count(r.Query, "&") > 0 && a.compare(r, k, reading{inOrder: true}) == nil {
		return nil
	}
	return err
}

func (a *Auth) compare(r Request, k *Key, as reading) error {
	var room [2048]byte
	canonical := appendCanonical(room[:0], r, a, as)
	var space [512]byte
	toSign := a.appendStringToSign(space[:0], sha256.Sum256(canonical))
	signature := k.sign(toSign)
	if subtle.ConstantTimeCompare(signature[:], []byte(a.Signature)) == 1 {
		return nil
	}
	e := refuse(SignatureMismatch, "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	e.AccessKey, e.Signature = a.AccessKey, a.Signature
	e.StringToSign, e.CanonicalRequest = string(toSign), string(canonical)
	return e
}

func (a *Auth) appendStringToSign(b []byte, sum [sha256.Size]byte) []byte {
	b = append(b, algorithm...)
	b = append(b, '\n')
	b = a.appendScope(b)
	b = append(b, '\n')
	return hex.AppendEncode(b, sum[:])
}

// appendScope appends the time and the scope as every string to sign has them.
func (a *Auth) appendScope(b []byte) []byte {
	b = a.Time.UTC().AppendFormat(b, timeFormat)
	for _, s := range [...]string{"\n", a.Date, "/", a.Region, "/", a.Service, "/", terminator} {
		b = append(b, s...)
	}
	return b
}

// checkTime compares the time of the signature with now.
func (a *Auth) checkTime(now time.Time) error {
	var e *Error
	switch age := now.Sub(a.Time); {
	case !a.Presigned && (age > MaxSkew || age < -MaxSkew):
		e = refuse(TimeTooSkewed, "The difference between the request time and the current time is too large.")
	case a.Presigned && age > a.Expires:
		e = refuse(Expired, "Request has expired")
		e.Expires = a.Expires
	case a.Presigned && age < -MaxSkew:
		e = refuse(NotYetValid, "Request is not yet valid")
	default:
		return nil
	}
	e.RequestTime, e.ServerTime = a.Time, now
	return e
}

// checkSigned refuses a request with an x-amz- header that is not signed, for
// whoever could see a presigned URL could otherwise add one. As on S3 the hash
// of the payload is exempt, being signed in a place of its own, and so is what
// CloudFront adds on the way, which no operation reads.
func (a *Auth) checkSigned(h Header) error {
	var missing []string
	for name := range h.Names() {
		if len(name) < 6 || !strings.EqualFold(name[:6], "x-amz-") ||
			strings.EqualFold(name, contentSHA256) || strings.EqualFold(name, "x-amz-cf-id") {
			continue
		}
		if !slices.ContainsFunc(a.SignedHeaders, func(signed string) bool { return strings.EqualFold(signed, name) }) {
			missing = append(missing, strings.ToLower(name))
		}
	}
	if missing == nil {
		return nil
	}
	e := refuse(UnsignedHeaders, "There were headers present in the request which were not signed")
	e.Headers = missing
	return e
}
