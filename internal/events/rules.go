// Package events tells what happens to objects to those who want to know: targets
// that a bucket's configuration names get each event at least once, from queues that
// outlive the gateway
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventNotifications.html), and
// listeners get what happens while they listen, at whichever gateway.
package events

import (
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
)

// Document is the name under which a bucket's configuration is kept among its
// documents.
const Document = "notification"

// Bounds of a configuration.
const (
	maxRules  = 100
	maxID     = 255
	maxFilter = 1024 // bytes of a prefix or suffix
)

// Configuration is a bucket's rules, as they are set and shown.
type Configuration struct {
	XMLName     xml.Name  `xml:"NotificationConfiguration"`
	Space       string    `xml:"xmlns,attr,omitempty"`
	Topics      []Rule    `xml:"TopicConfiguration"`
	Queues      []Rule    `xml:"QueueConfiguration"`
	Functions   []Rule    `xml:"CloudFunctionConfiguration"`
	EventBridge *struct{} `xml:"EventBridgeConfiguration"`
}

// Rule says which events a destination gets. The element of its ARN has the name of
// what S3 would send to.
type Rule struct {
	ID       string   `xml:"Id,omitempty"`
	Topic    string   `xml:"Topic,omitempty"`
	Queue    string   `xml:"Queue,omitempty"`
	Function string   `xml:"CloudFunction,omitempty"`
	Events   []string `xml:"Event"`
	Filter   *Filter  `xml:"Filter,omitempty"`
}

// Filter says which keys a rule is about.
type Filter struct {
	Key struct {
		Rules []FilterRule `xml:"FilterRule"`
	} `xml:"S3Key"`
}

// FilterRule is what a key begins or ends with.
type FilterRule struct{ Name, Value string }

// Destination names a target.
type Destination struct {
	Type string // webhook, nats, kafka, amqp, mqtt, redis or postgresql
	ID   string
}

// ARN returns the name that configurations use, which is MinIO's.
func (d Destination) ARN() string { return "arn:minio:sqs::" + d.ID + ":" + d.Type }

// String returns the destination's name in labels of queues and metrics.
func (d Destination) String() string { return d.Type + "." + d.ID }

// parseARN reads what ARN returns, for a service as S3 calls it. Clients may know it
// with a region, and with the name of this program.
func parseARN(arn, service string) (Destination, bool) {
	p := strings.Split(arn, ":")
	if len(p) != 6 || p[0] != "arn" || p[1] != "minio" && p[1] != "shoal" || p[2] != service || p[4] == "" || p[5] == "" {
		return Destination{}, false
	}
	return Destination{Type: p[5], ID: p[4]}, true
}

// The kinds of errors of Prepare. Their texts are for the client.
var (
	ErrMalformed      = errors.New("the configuration does not have the form of one")
	ErrArgument       = errors.New("a value of the configuration is not valid")
	ErrNotImplemented = errors.New("the configuration asks for what is not done here")
)

// invalid is an error of a kind, with a text of its own.
type invalid struct {
	kind error
	text string
}

func (i invalid) Error() string { return i.text }
func (i invalid) Unwrap() error { return i.kind }

// UnknownTargetError is an ErrArgument: there is no target of the ARN.
type UnknownTargetError struct{ ARN string }

// Error returns S3's text.
func (e *UnknownTargetError) Error() string {
	return "Unable to validate the following destination configurations"
}

// Unwrap returns ErrArgument.
func (e *UnknownTargetError) Unwrap() error { return ErrArgument }

// Empty reports whether there is no rule, which is how a configuration is removed.
func (c *Configuration) Empty() bool {
	return len(c.Topics)+len(c.Queues)+len(c.Functions) == 0 && c.EventBridge == nil
}

// Destinations returns where the rules send, each once.
func (c *Configuration) Destinations() []Destination {
	var all []Destination
	seen := make(map[Destination]bool)
	c.each(func(_ *Rule, to Destination) bool {
		if !seen[to] {
			seen[to] = true
			all = append(all, to)
		}
		return true
	})
	return all
}

// each calls f with the rules that send to what a target could be, until it returns
// false.
func (c *Configuration) each(f func(r *Rule, to Destination) bool) {
	for _, rules := range [][]Rule{c.Topics, c.Queues, c.Functions} {
		for i := range rules {
			r := &rules[i]
			if to, ok := r.destination(); ok && !f(r, to) {
				return
			}
		}
	}
}

func (r *Rule) destination() (Destination, bool) {
	switch {
	case r.Queue != "":
		return parseARN(r.Queue, "sqs")
	case r.Topic != "":
		return parseARN(r.Topic, "sns")
	}
	return parseARN(r.Function, "lambda")
}

// Prepare refuses what S3 does not take, and gives names to rules that have none.
// known reports whether there is a target.
func (c *Configuration) Prepare(known func(Destination) bool) error {
	if c.EventBridge != nil {
		return invalid{ErrNotImplemented, "Event notifications to EventBridge are not supported."}
	}
	var all []*Rule
	for kind, rules := range [][]Rule{c.Topics, c.Queues, c.Functions} {
		for i := range rules {
			r := &rules[i]
			given := [3]bool{r.Topic != "", r.Queue != "", r.Function != ""}
			wanted := [3]bool{}
			wanted[kind] = true
			if given != wanted {
				return ErrMalformed
			}
			if err := r.prepare(known); err != nil {
				return err
			}
			all = append(all, r)
		}
	}
	if len(all) > maxRules {
		return invalid{ErrArgument, fmt.Sprintf("The number of notification configurations exceeds the limit of %d.", maxRules)}
	}
	return checkTogether(all)
}

func (r *Rule) prepare(known func(Destination) bool) error {
	if r.ID == "" {
		r.ID = strings.ToLower(rand.Text())
	}
	if len(r.ID) > maxID {
		return invalid{ErrArgument, "The ID of a notification configuration cannot be longer than 255 characters."}
	}
	if len(r.Events) == 0 {
		return ErrMalformed
	}
	if err := checkEvents(r.Events); err != nil {
		return err
	}
	if err := r.Filter.prepare(); err != nil {
		return err
	}
	if to, ok := r.destination(); !ok || !known(to) {
		return &UnknownTargetError{ARN: r.Topic + r.Queue + r.Function}
	}
	return nil
}

func checkEvents(patterns []string) error {
	for _, pattern := range patterns {
		switch standingOf(pattern) {
		case unknown:
			return invalid{ErrArgument, "The event '" + pattern + "' is not supported for notifications"}
		case never:
			return invalid{ErrNotImplemented, "The event '" + pattern + "' does not happen here."}
		case happens:
		}
	}
	return nil
}

func (f *Filter) prepare() error {
	if f == nil {
		return nil
	}
	seen := make(map[string]bool)
	for i := range f.Key.Rules {
		r := &f.Key.Rules[i]
		r.Name = strings.ToLower(r.Name)
		switch {
		case r.Name != "prefix" && r.Name != "suffix":
			return invalid{ErrArgument, "filter rule name must be either prefix or suffix"}
		case seen[r.Name]:
			return invalid{ErrArgument, "Cannot specify more than one " + r.Name + " rule in a filter."}
		case len(r.Value) > maxFilter:
			return invalid{ErrArgument, "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation"}
		}
		seen[r.Name] = true
	}
	return nil
}

// get returns the value of the filter's rule of a name.
func (f *Filter) get(name string) string {
	if f != nil {
		for _, r := range f.Key.Rules {
			if strings.EqualFold(r.Name, name) {
				return r.Value
			}
		}
	}
	return ""
}

// checkTogether refuses rules of which two would send the same event.
func checkTogether(rules []*Rule) error {
	ids := make(map[string]bool)
	for i, r := range rules {
		if ids[r.ID] {
			return invalid{ErrArgument, "Notification configurations cannot share an ID: " + r.ID}
		}
		ids[r.ID] = true
		for _, other := range rules[:i] {
			if !r.overlaps(other) {
				continue
			}
			if r.Filter == nil && other.Filter == nil {
				return invalid{ErrArgument, "Configurations overlap. Configurations on the same bucket cannot share a common event type."}
			}
			return invalid{ErrArgument, "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type."}
		}
	}
	return nil
}

func (r *Rule) overlaps(other *Rule) bool {
	a, b := r.Filter.get("prefix"), other.Filter.get("prefix")
	if !strings.HasPrefix(a, b) && !strings.HasPrefix(b, a) {
		return false
	}
	a, b = r.Filter.get("suffix"), other.Filter.get("suffix")
	if !strings.HasSuffix(a, b) && !strings.HasSuffix(b, a) {
		return false
	}
	for _, n := range names() {
		if matchesAny(n, r.Events) && matchesAny(n, other.Events) {
			return true
		}
	}
	return false
}

func matchesAny(n Name, patterns []string) bool {
	for _, p := range patterns {
		if n.Matches(p) {
			return true
		}
	}
	return false
}

// Wants reports whether a rule is about an event, of whichever key.
func (c *Configuration) Wants(n Name) bool {
	wants := false
	c.each(func(r *Rule, _ Destination) bool {
		wants = wants || matchesAny(n, r.Events)
		return !wants
	})
	return wants
}

// match returns which rule an event of a key is sent by, and where to. There is one
// at most.
func (c *Configuration) match(n Name, key string) (r *Rule, to Destination, ok bool) {
	c.each(func(each *Rule, where Destination) bool {
		if strings.HasPrefix(key, each.Filter.get("prefix")) && strings.HasSuffix(key, each.Filter.get("suffix")) && matchesAny(n, each.Events) {
			r, to, ok = each, where, true
		}
		return !ok
	})
	return r, to, ok
}

// Parse reads a configuration that Prepare has accepted.
func Parse(text string) (*Configuration, error) {
	var c Configuration
	if err := xml.Unmarshal([]byte(text), &c); err != nil {
		return nil, fmt.Errorf("parse notifications: %w", err)
	}
	return &c, nil
}
