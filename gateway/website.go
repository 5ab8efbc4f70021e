package gateway

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// maxRoutingRules is how many rules a website may have
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-page-redirect.html).
const maxRoutingRules = 50

// websiteConfiguration is the body of Get- and PutBucketWebsite.
type websiteConfiguration struct {
	XMLName               xml.Name         `xml:"WebsiteConfiguration"`
	Space                 string           `xml:"xmlns,attr,omitempty"`
	RedirectAllRequestsTo *websiteRedirect `xml:"RedirectAllRequestsTo,omitempty"`
	IndexDocument         *indexDocument   `xml:"IndexDocument,omitempty"`
	ErrorDocument         *errorDocument   `xml:"ErrorDocument,omitempty"`
	RoutingRules          *routingRules    `xml:"RoutingRules,omitempty"`
}

type routingRules struct {
	Rules []routingRule `xml:"RoutingRule"`
}

type indexDocument struct {
	Suffix string `xml:"Suffix"`
}

type errorDocument struct {
	Key *string `xml:"Key"`
}

// routingRule redirects the requests that its condition fits: all if it has none.
type routingRule struct {
	Condition *routingCondition `xml:"Condition,omitempty"`
	Redirect  websiteRedirect   `xml:"Redirect"`
}

type routingCondition struct {
	KeyPrefixEquals             string `xml:"KeyPrefixEquals,omitempty"`
	HTTPErrorCodeReturnedEquals string `xml:"HttpErrorCodeReturnedEquals,omitempty"`
}

// websiteRedirect says where a request is sent: what is empty stays as it was asked.
type websiteRedirect struct {
	HostName             string  `xml:"HostName,omitempty"`
	Protocol             string  `xml:"Protocol,omitempty"`
	ReplaceKeyPrefixWith *string `xml:"ReplaceKeyPrefixWith,omitempty"`
	ReplaceKeyWith       *string `xml:"ReplaceKeyWith,omitempty"`
	HTTPRedirectCode     string  `xml:"HttpRedirectCode,omitempty"`
}

// putBucketWebsite serves PutBucketWebsite
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketWebsite.html).
func (s *Server) putBucketWebsite(ctx context.Context, r *request) error {
	var in websiteConfiguration
	if err := s.readDocument(ctx, r, &in); err != nil {
		return err
	}
	if err := in.validate(); err != nil {
		return err
	}
	in.XMLName, in.Space = xml.Name{Local: "WebsiteConfiguration"}, xmlNamespace
	text, err := encodeDocument(&in)
	if err != nil {
		return err
	}
	return s.setDocument(ctx, r, websiteDocument, text, nil)
}

// validate refuses what S3 does not take.
func (c *websiteConfiguration) validate() error {
	if all := c.RedirectAllRequestsTo; all != nil {
		switch {
		case c.IndexDocument != nil || c.ErrorDocument != nil || c.RoutingRules != nil:
			return errInvalidRequest.with("RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.")
		case all.HostName == "":
			return errMalformedXML
		}
		return all.validate()
	}
	switch {
	case c.IndexDocument == nil:
		return errInvalidArgument.with("A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty").
			detailed("ArgumentName", "IndexDocument").detailed("ArgumentValue", "null")
	case c.IndexDocument.Suffix == "" || strings.Contains(c.IndexDocument.Suffix, "/"):
		return errInvalidArgument.with("The IndexDocument Suffix is not well formed").
			detailed("ArgumentName", "IndexDocument").detailed("ArgumentValue", c.IndexDocument.Suffix)
	case c.ErrorDocument != nil && c.ErrorDocument.Key == nil:
		return errMalformedXML
	case c.ErrorDocument != nil && *c.ErrorDocument.Key == "":
		return errInvalidArgument.with("The ErrorDocument Key is not well formed").
			detailed("ArgumentName", "ErrorDocument").detailed("ArgumentValue", "")
	case c.RoutingRules != nil:
		return c.RoutingRules.validate()
	}
	return nil
}

func (r *routingRules) validate() error {
	if len(r.Rules) > maxRoutingRules {
		return errInvalidRequest.with(fmt.Sprintf("%d routing rules provided, the number of routing rules in a website configuration is limited to %d.", len(r.Rules), maxRoutingRules))
	}
	for i := range r.Rules {
		if err := r.Rules[i].validate(); err != nil {
			return err
		}
	}
	return nil
}

func (r *routingRule) validate() error {
	if c := r.Condition; c != nil {
		if c.KeyPrefixEquals == "" && c.HTTPErrorCodeReturnedEquals == "" {
			return errInvalidRequest.with("Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.")
		}
		if code := c.HTTPErrorCodeReturnedEquals; code != "" {
			n, err := strconv.Atoi(code)
			switch {
			case err != nil:
				return errMalformedXML
			case n < 400 || n > 417 && n < 500 || n > 505:
				return errInvalidRequest.with("The provided HTTP error code (" + code + ") is not valid. Valid codes are 4XX or 5XX.")
			}
		}
	}
	to := &r.Redirect
	switch {
	case *to == websiteRedirect{}:
		return errMalformedXML
	case to.ReplaceKeyWith != nil && to.ReplaceKeyPrefixWith != nil:
		return errInvalidRequest.with("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
	}
	return to.validate()
}

func (to *websiteRedirect) validate() error {
	if to.Protocol != "" && to.Protocol != "http" && to.Protocol != "https" {
		return errInvalidRequest.with("Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.")
	}
	if code := to.HTTPRedirectCode; code != "" {
		n, err := strconv.Atoi(code)
		switch {
		case err != nil:
			return errMalformedXML
		case n <= 300 || n == 306 || n > 308:
			return errInvalidRequest.with("The provided HTTP redirect code (" + code + ") is not valid. Valid codes are 3XX except 300.")
		}
	}
	return nil
}

// route returns where the request for a key is sent: before it is looked for with
// status 0, and afterwards with the status of the error.
func (c *websiteConfiguration) route(key string, status int) *routingRule {
	if c.RoutingRules == nil {
		return nil
	}
	for i := range c.RoutingRules.Rules {
		if rule := &c.RoutingRules.Rules[i]; rule.fits(key, status) {
			return rule
		}
	}
	return nil
}

func (r *routingRule) fits(key string, status int) bool {
	if r.Condition == nil {
		return status == 0
	}
	onError := r.Condition.HTTPErrorCodeReturnedEquals
	return strings.HasPrefix(key, r.Condition.KeyPrefixEquals) &&
		(onError == "" && status == 0 || onError != "" && onError == strconv.Itoa(status))
}

// status is what the redirection is answered with.
func (to *websiteRedirect) status() int {
	if n, err := strconv.Atoi(to.HTTPRedirectCode); err == nil {
		return n
	}
	return 301
}

// location returns where the request for a key goes that came to host by scheme.
// prefix is the one that ReplaceKeyPrefixWith stands for.
func (to *websiteRedirect) location(scheme, host, key, prefix string) string {
	if to.Protocol != "" {
		scheme = to.Protocol
	}
	if to.HostName != "" {
		host = to.HostName
	}
	switch {
	case to.ReplaceKeyWith != nil:
		key = *to.ReplaceKeyWith
	case to.ReplaceKeyPrefixWith != nil:
		key = *to.ReplaceKeyPrefixWith + strings.TrimPrefix(key, prefix)
	}
	path := url.URL{Path: "/" + key}
	return scheme + "://" + host + path.EscapedPath()
}
