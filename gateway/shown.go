package gateway

import (
	"iter"
	"strings"
)

// hidden stands where others see a secret of a request.
const hidden = "*REDACTED*"

// secretWords are parts of the names of headers and parameters, in lower case, whose
// values let whoever sees them sign, decrypt or log in.
func secretWords() []string {
	return []string{"authorization", "cookie", "signature", "security-token", "securitytoken", "customer-key", "password", "secret", "token"}
}

// isSecret reports whether the value of a header or parameter must not be shown.
func isSecret(name string) bool {
	name = strings.ToLower(name)
	if strings.Contains(name, "customer-key-md5") || name == "continuation-token" {
		return false
	}
	for _, word := range secretWords() {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// shownHeaders returns headers as traces and the audit show them.
func shownHeaders(all iter.Seq2[[]byte, []byte]) map[string][]string {
	shown := make(map[string][]string)
	for name, value := range all {
		v := string(value)
		if isSecret(string(name)) {
			v = hidden
		}
		shown[string(name)] = append(shown[string(name)], v)
	}
	return shown
}

// shownQuery returns a query as traces show it. A parameter whose name cannot be read is
// hidden altogether.
func shownQuery(raw string) string {
	if raw == "" {
		return ""
	}
	parts := strings.Split(raw, "&")
	for i, part := range parts {
		name, _, valued := strings.Cut(part, "=")
		decoded, ok := unescape(name, true)
		switch {
		case !ok:
			parts[i] = hidden
		case valued && isSecret(decoded):
			parts[i] = name + "=" + hidden
		}
	}
	return strings.Join(parts, "&")
}

// shownParameters returns the parameters of the request as the audit shows them.
func (r *request) shownParameters() map[string][]string {
	shown := make(map[string][]string, len(r.query))
	for _, p := range r.query {
		value := p.value
		if isSecret(p.name) {
			value = hidden
		}
		shown[p.name] = append(shown[p.name], value)
	}
	return shown
}
