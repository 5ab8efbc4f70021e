package iam

import "strings"

// What stands in a pattern for characters that are meant as they are, and for what no
// text has.
const (
	literalStar     = "\x01"
	literalQuestion = "\x02"
	nothing         = "\x03"
)

// wild reports whether a text fits a pattern in which '*' stands for any text and
// '?' for any one byte. It takes time in proportion to the product of both
// lengths, at most.
func wild(pattern, text string) bool {
	p, t := 0, 0
	star, mark := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || stands(pattern[p], text[t])):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// stands reports whether a byte of a pattern that is no wildcard stands for one of a text.
func stands(c, text byte) bool {
	switch c {
	case literalStar[0]:
		return text == '*'
	case literalQuestion[0]:
		return text == '?'
	case nothing[0]:
		return false
	}
	return c == text
}

// same reports whether a text is what a pattern without wildcards says.
func same(pattern, text string) bool {
	if len(pattern) != len(text) {
		return false
	}
	for i := range len(text) {
		if !stands(pattern[i], text[i]) {
			return false
		}
	}
	return true
}

// expand puts in the values of variables: "${aws:username}", with "${key, 'text'}"
// as what to take where there is none, and "${*}", "${?}", "${$}" for these
// characters themselves
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html).
// A variable that has no value, or several, fits nothing.
func expand(pattern string, r *Request) string {
	if !strings.Contains(pattern, "${") {
		return pattern
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(pattern, "${")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			b.WriteString("${" + rest)
			return b.String()
		}
		b.WriteString(variable(name, r))
		pattern = after
	}
}

func variable(name string, r *Request) string {
	switch name {
	case "*":
		return literalStar
	case "?":
		return literalQuestion
	case "$":
		return "$"
	}
	key, fallback, has := strings.Cut(name, ",")
	values := r.value(canonicalKey(strings.TrimSpace(key)))
	switch {
	case len(values) == 1:
		return strings.NewReplacer("*", literalStar, "?", literalQuestion).Replace(values[0])
	case has && len(values) == 0:
		return strings.Trim(strings.TrimSpace(fallback), "'")
	}
	return nothing
}

// canonicalKey returns a condition key as Values knows it: names do not depend on
// case, those of tags do.
func canonicalKey(key string) string {
	name, tag, has := strings.Cut(key, "/")
	if has {
		return strings.ToLower(name) + "/" + tag
	}
	return strings.ToLower(name)
}
