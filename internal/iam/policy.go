package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ARNPrefix is what the names of buckets and objects begin with.
const ARNPrefix = "arn:aws:s3:::"

// MaxPolicy is the longest policy, in bytes
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html).
const MaxPolicy = 20 << 10

// Policy is a policy of a bucket, or of users
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
// It does not change.
type Policy struct {
	statements []statement
	variables  bool // "${...}" is a variable
}

// statement is one of a policy's.
type statement struct {
	effect     Decision
	principals principals
	actions    patterns
	resources  patterns
	conditions []condition
}

// patterns are what an element and its opposite (NotAction, NotResource) name.
type patterns struct {
	not bool
	all []string
}

// principals are who a statement is about.
type principals struct {
	not      bool
	everyone bool
	names    []string // of users, and of accounts
}

// The errors of ParsePolicy, which have the words of S3.
var (
	errNotJSON     = errors.New("Policies must be valid JSON and the first byte must be '{'")                   //nolint:staticcheck,revive // S3's words
	errBadJSON     = errors.New("This policy contains invalid Json")                                            //nolint:staticcheck,revive // S3's words
	errVersion     = errors.New("The policy must contain a valid version string")                               //nolint:staticcheck,revive // S3's words
	errStatements  = errors.New("Missing required field Statement")                                             //nolint:staticcheck,revive // S3's words
	errNoStatement = errors.New("Could not parse the policy: Statement is empty!")                              //nolint:staticcheck,revive // S3's words
	errEffect      = errors.New("Invalid effect")                                                               //nolint:staticcheck,revive // S3's words
	errPrincipal   = errors.New("Invalid principal in policy")                                                  //nolint:staticcheck,revive // S3's words
	errAllowAllBut = errors.New("Allow with NotPrincipal is not allowed.")                                      //nolint:staticcheck,revive // S3's words
	errNoPrincipal = errors.New("Missing required field Principal")                                             //nolint:staticcheck,revive // S3's words
	errAction      = errors.New("Policy has invalid action")                                                    //nolint:staticcheck,revive // S3's words
	errNoAction    = errors.New("Missing required field Action")                                                //nolint:staticcheck,revive // S3's words
	errResource    = errors.New("Policy has invalid resource")                                                  //nolint:staticcheck,revive // S3's words
	errNoResource  = errors.New("Missing required field Resource")                                              //nolint:staticcheck,revive // S3's words
	errApplies     = errors.New("Action does not apply to any resource(s) in statement")                        //nolint:staticcheck,revive // S3's words
	errConditional = errors.New("Policy has an invalid condition key")                                          //nolint:staticcheck,revive // S3's words
	errCombination = errors.New("Conditions do not apply to combination of actions and resources in statement") //nolint:staticcheck,revive // S3's words
	errAddress     = errors.New("Invalid IP address in Conditions")                                             //nolint:staticcheck,revive // S3's words
	errCondition   = errors.New("Invalid Condition type")                                                       //nolint:staticcheck,revive // S3's words
)

// oneOrMany is a string, or a list of them.
type oneOrMany []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMany) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o)) //nolint:wrapcheck // within json.Unmarshal
}

// scalar is what a condition compares with: a string, number or truth value.
type scalar string

// UnmarshalJSON implements json.Unmarshaler.
func (s *scalar) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*s = scalar(text)
		return nil
	}
	if b[0] == '{' || b[0] == '[' || bytes.Equal(b, []byte("null")) {
		return errCondition
	}
	*s = scalar(b)
	return nil
}

// scalars is one scalar, or a list of them.
type scalars []string

// UnmarshalJSON implements json.Unmarshaler.
func (s *scalars) UnmarshalJSON(b []byte) error {
	list := []scalar{""}
	var err error
	if b[0] == '[' {
		err = json.Unmarshal(b, &list)
	} else {
		err = json.Unmarshal(b, &list[0])
	}
	for _, v := range list {
		*s = append(*s, string(v))
	}
	return err //nolint:wrapcheck // within json.Unmarshal
}

// document is a policy as it is written.
type document struct {
	Version   string
	ID        string `json:"Id"`
	Statement statements
}

// statements is one statement, or a list of them.
type statements []statementDocument

// UnmarshalJSON implements json.Unmarshaler.
func (s *statements) UnmarshalJSON(b []byte) error {
	if b[0] == '{' {
		*s = make(statements, 1)
		return strict(b, &(*s)[0])
	}
	return strict(b, (*[]statementDocument)(s))
}

type statementDocument struct {
	Sid          string
	Effect       string
	Principal    *json.RawMessage
	NotPrincipal *json.RawMessage
	Action       oneOrMany
	NotAction    oneOrMany
	Resource     oneOrMany
	NotResource  oneOrMany
	Condition    map[string]map[string]scalars
}

// strict decodes JSON without members that it does not know.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v) //nolint:wrapcheck // within json.Unmarshal
}

// ParsePolicy reads the policy of a bucket. Its errors tell the client, in S3's
// words, what is wrong.
func ParsePolicy(text []byte, bucket string) (*Policy, error) {
	return parsePolicy(text, func(d *statementDocument, s *statement) error {
		var err error
		if s.principals, err = parsePrincipals(d.Principal, d.NotPrincipal); err != nil {
			return err
		}
		if s.resources, err = choose(d.Resource, d.NotResource, errNoResource, errResource); err != nil {
			return err
		}
		return s.validate(bucket)
	})
}

// Validate refuses what a new policy of a bucket may not have, though one that is stored is read with it.
func (p *Policy) Validate() error {
	for i := range p.statements {
		if err := p.statements[i].validateNew(); err != nil {
			return err
		}
	}
	return nil
}

// validateNew refuses what would never apply, or always: a user without a name, an action that is about none of
// the resources, a condition on what no request for one of the actions has, and an address that is none; and what
// lets in all but some, strangers too
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html).
func (s *statement) validateNew() error {
	if s.effect == Allow && s.principals.not {
		return errAllowAllBut
	}
	if slices.ContainsFunc(s.principals.names, nobody) {
		return errPrincipal
	}
	buckets, objects := s.levels()
	for _, a := range s.actions.all {
		onBucket, onObject, _ := levelOf(a)
		if fits := onBucket && buckets || onObject && objects; !fits && !s.actions.not && !s.resources.not {
			return errApplies
		}
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		switch {
		case misspelled(c.key):
			return errConditional
		case !s.actions.not && slices.ContainsFunc(s.actions.all, func(action string) bool { return !comesWith(c.key, action) }):
			return errCombination
		case c.key == "aws:sourceip" && c.validate(func(v string) bool { _, ok := parsePrefix(v); return ok }) != nil:
			return errAddress
		}
	}
	return nil
}

// errTwice says what Unambiguous found.
var errTwice = errors.New("Policy has the same element twice") //nolint:staticcheck,revive // as S3 would have it

// Unambiguous refuses a new policy in which an element, or a key of a condition, is twice in one place: the last
// one would count alone, and a denial may be in another one.
func Unambiguous(text []byte) error {
	type level struct {
		names map[string]bool // nil: a list
		value bool            // the next token is one, and no name
	}
	var levels []level
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errBadJSON
		case token == json.Delim('}') || token == json.Delim(']'):
			levels = levels[:len(levels)-1]
			continue
		}
		if n := len(levels); n > 0 && levels[n-1].names != nil {
			in := &levels[n-1]
			name, _ := token.(string)
			kind, tag, _ := strings.Cut(name, "/") // tags depend on case
			if name = strings.ToLower(strings.ToUpper(kind)) + "/" + tag; !in.value && in.names[name] {
				return fmt.Errorf("%w: %s", errTwice, kind)
			}
			if !in.value {
				in.names[name] = true
			}
			in.value = !in.value
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{names: make(map[string]bool)})
		case json.Delim('['):
			levels = append(levels, level{})
		}
	}
}

// ParseUserPolicy reads a policy that is attached to users or groups: it names no
// principal, and may be about any bucket and about the administration ("admin:*"). Its
// errors tell the client what is wrong.
func ParseUserPolicy(text []byte) (*Policy, error) {
	return parsePolicy(text, func(d *statementDocument, s *statement) error {
		if d.Principal != nil || d.NotPrincipal != nil {
			return errPrincipal
		}
		s.principals.everyone = true
		return s.validateForUser(d)
	})
}

// parsePolicy reads a policy; complete sets and checks what policies of buckets and of
// users differ in.
func parsePolicy(text []byte, complete func(*statementDocument, *statement) error) (*Policy, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || text[0] != '{' {
		return nil, errNotJSON
	}
	if !json.Valid(text) {
		return nil, errBadJSON
	}
	var doc document
	if err := strict(text, &doc); err != nil {
		if slices.Contains([]error{errCondition}, err) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %s", errBadJSON, strings.TrimPrefix(err.Error(), "json: "))
	}
	p := &Policy{variables: doc.Version == "2012-10-17"}
	switch {
	case doc.Version != "" && doc.Version != "2012-10-17" && doc.Version != "2008-10-17":
		return nil, errVersion
	case doc.Statement == nil:
		return nil, errStatements
	case len(doc.Statement) == 0:
		return nil, errNoStatement
	}
	for i := range doc.Statement {
		s, err := doc.Statement[i].parse(complete)
		if err != nil {
			return nil, err
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func (d *statementDocument) parse(complete func(*statementDocument, *statement) error) (s statement, err error) {
	switch d.Effect {
	case "Allow":
		s.effect = Allow
	case "Deny":
		s.effect = Deny
	default:
		return s, fmt.Errorf("%w: %s", errEffect, d.Effect)
	}
	if s.actions, err = choose(d.Action, d.NotAction, errNoAction, errAction); err != nil {
		return s, err
	}
	if err := complete(d, &s); err != nil {
		return s, err
	}
	for i, a := range s.actions.all {
		s.actions.all[i] = strings.ToLower(a)
	}
	for operator, keys := range d.Condition {
		for key, values := range keys {
			c, err := parseCondition(operator, key, values)
			if err != nil {
				return s, err
			}
			s.conditions = append(s.conditions, c)
		}
	}
	return s, nil
}

// choose returns what an element or its opposite names.
func choose(are, areNot oneOrMany, missing, both error) (patterns, error) {
	switch {
	case len(are) > 0 && len(areNot) > 0:
		return patterns{}, both
	case len(are) > 0:
		return patterns{all: are}, nil
	case len(areNot) > 0:
		return patterns{all: areNot, not: true}, nil
	}
	return patterns{}, missing
}

// parsePrincipals reads Principal or NotPrincipal.
func parsePrincipals(are, areNot *json.RawMessage) (p principals, err error) {
	raw := are
	if raw == nil {
		raw, p.not = areNot, true
	}
	switch {
	case are != nil && areNot != nil:
		return p, errPrincipal
	case raw == nil:
		return p, errNoPrincipal
	}
	var one string
	if json.Unmarshal(*raw, &one) == nil {
		if p.everyone = one == "*"; !p.everyone {
			return p, errPrincipal
		}
		return p, nil
	}
	var kinds map[string]oneOrMany
	if json.Unmarshal(*raw, &kinds) != nil || len(kinds) == 0 {
		return p, errPrincipal
	}
	for kind, names := range kinds {
		if len(names) == 0 {
			return p, errPrincipal
		}
		for _, name := range names {
			if err := p.add(kind, name); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// add takes one principal: everyone, a user by his ARN, or an account.
func (p *principals) add(kind, name string) error {
	switch kind {
	case "AWS":
	case "CanonicalUser", "Federated", "Service":
		p.names = append(p.names, kind+":"+name)
		return nil
	default:
		return errPrincipal
	}
	if name == "*" {
		p.everyone = true
		return nil
	}
	arn := strings.HasPrefix(name, "arn:aws:iam::") || strings.HasPrefix(name, "arn:aws:sts::")
	switch {
	case isAccount(name):
	case !arn, strings.Count(name, ":") < 5:
		return errPrincipal
	}
	p.names = append(p.names, name)
	return nil
}

// validate refuses actions that S3 does not know, and resources that are not the
// bucket's or that no action is about.
func (s *statement) validate(bucket string) error {
	for _, r := range s.resources.all {
		path, ok := strings.CutPrefix(r, ARNPrefix)
		name, _, _ := strings.Cut(path, "/")
		if !ok || name != bucket && !wild(name, bucket) {
			return errResource
		}
	}
	buckets, objects := s.levels()
	fits := s.actions.not || s.resources.not
	for _, a := range s.actions.all {
		onBucket, onObject, known := levelOf(a)
		if !known {
			return errAction
		}
		fits = fits || onBucket && buckets || onObject && objects
	}
	if !fits {
		return errApplies
	}
	return nil
}

// nobody reports whether a principal is no one: groups are none, nor is a pattern, nor a user without a name.
func nobody(name string) bool {
	return strings.ContainsAny(name, "*?") || strings.Contains(name, ":group/") || strings.HasSuffix(name, "/")
}

// levels reports whether buckets and whether objects are among the resources.
func (s *statement) levels() (buckets, objects bool) {
	for _, r := range s.resources.all {
		_, _, within := strings.Cut(strings.TrimPrefix(r, ARNPrefix), "/")
		objects = objects || within || strings.HasSuffix(r, "*")
		buckets = buckets || !within
	}
	return buckets, objects
}

// validateForUser sets the resources and refuses actions that nobody knows. Only a
// statement that is not about S3 can do without resources.
func (s *statement) validateForUser(d *statementDocument) (err error) {
	onS3 := s.actions.not
	for _, a := range s.actions.all {
		if isForeign(a) {
			continue
		}
		if _, _, known := levelOf(a); !known {
			return errAction
		}
		onS3 = true
	}
	if !onS3 && len(d.Resource) == 0 && len(d.NotResource) == 0 {
		s.resources.all = []string{"*"}
		return nil
	}
	if s.resources, err = choose(d.Resource, d.NotResource, errNoResource, errResource); err != nil {
		return err
	}
	for _, r := range s.resources.all {
		if r != "*" && !strings.HasPrefix(r, ARNPrefix) {
			return errResource
		}
	}
	return nil
}

// isForeign reports whether an action, or a pattern of actions, is of another service
// than S3: the administration, temporary credentials, or keys. These are not all known
// here, so none is refused.
func isForeign(action string) bool {
	service, _, ok := strings.Cut(strings.ToLower(action), ":")
	return ok && slices.Contains([]string{"admin", "sts", "kms"}, service)
}

// Decide returns what the policy says of a request.
func (p *Policy) Decide(r *Request) Decision {
	said := Abstain
	action, resource := strings.ToLower(r.Action), r.resource()
	for i := range p.statements {
		s := &p.statements[i]
		if s.effect > said && s.isAbout(r.Identity) && s.actions.match(action, nil) && s.applies(r, resource, p.variables) {
			said = s.effect
		}
	}
	return said
}

func (s *statement) applies(r *Request, resource string, variables bool) bool {
	with := r
	if !variables {
		with = nil
	}
	if !s.resources.match(resource, with) {
		return false
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(r, variables) {
			return false
		}
	}
	return true
}

// isAbout reports whether the statement is about who sent a request. One that denies an account
// something denies it to all who are in it; what it allows the account is for the root user, who
// passes it on by policies of users.
func (s *statement) isAbout(who Identity) bool {
	if s.effect == Deny && !s.principals.not && !who.Anonymous() && slices.ContainsFunc(s.principals.names, isAccount) {
		return true
	}
	return s.principals.match(who)
}

// isAccount reports whether a principal is an account: by its number, or its root user.
func isAccount(principal string) bool {
	if arn, ok := strings.CutPrefix(principal, "arn:aws:iam::"); ok {
		return strings.HasSuffix(arn, ":root")
	}
	return len(principal) == 12 && strings.Trim(principal, "0123456789") == ""
}

func (p *principals) match(who Identity) bool {
	if p.everyone {
		return !p.not
	}
	for _, name := range p.names {
		if who.is(name) {
			return !p.not
		}
	}
	return p.not
}

// is reports whether a principal is who sent the request: the root user is his
// account, and temporary credentials are a user's, and a session of his. The number of
// the account is of no account: there is one.
func (i Identity) is(principal string) bool {
	if i.Anonymous() {
		return false
	}
	if arn, ok := strings.CutPrefix(principal, "arn:aws:sts::"); ok {
		_, name, _ := strings.Cut(arn, ":")
		return i.Session != nil && name == "assumed-role/"+i.User()+"/"+i.Session.Name
	}
	if i.Root {
		return isAccount(principal)
	}
	_, name, _ := strings.Cut(strings.TrimPrefix(principal, "arn:aws:iam::"), ":")
	user, ok := strings.CutPrefix(name, "user/")
	return ok && user[strings.LastIndexByte(user, '/')+1:] == i.User()
}

// match reports whether a text fits what is named, in which variables have the
// values of with, unless that is nil.
func (p *patterns) match(text string, with *Request) bool {
	for _, pattern := range p.all {
		if with != nil {
			pattern = expand(pattern, with)
		}
		if wild(pattern, text) {
			return !p.not
		}
	}
	return p.not
}
